"""What `svdsweep VERB` does: one file a verb, named after it, with `main(arguments) -> exit code`."""

VERBS = {
    "run": "run a grid; the same command goes on where it ended (the verb may be left out)",
    "plan": "show the jobs of a grid and what is done; run nothing",
    "predict": "peak VRAM of every job of a grid, also over time, which cards it fits, the floor of latency; no GPU",
    "fit": "the fastest strategies that are predicted to fit a card, and a time: `fit --vram 8 --seconds 30`",
    "pick": 'the best few of many seeds by a metric, most of them judged at few steps: `pick "seed=range(64)" --by …`',
    "tune": "search noise levels for few steps that come nearest to the full run, as a preset: `tune --steps 6`",
    "score": "the frame metrics of any video or folder of frames; VBench's results brought to a sweep's rows",
    "report": "write the page and the Markdown report of sweeps, also while they run",
    "montage": "the videos of a sweep side by side as one labelled .mp4, .webp, .gif or sheet: `--rows A --columns B`",
    "compare": "one sweep against another, or many by date (`--trend`), regressions first; --fail-above 10% for CI",
    "seeds": "each metric over the seeds and images of a cell, and one setting against another: `--pair memory=a,b`",
    "list": "the sweeps under runs/: state, fastest job, size, tags, note; search by words",
    "show": "one job by its key: settings, measurements, notes, log, and the command that makes it again",
    "clean": "what of a sweep's folder may go (logs, frames that wait, files of no row); asks before it removes",
    "watch": "follow a sweep that runs elsewhere, from its rows",
    "merge": "put sweeps of several machines into one folder, checking for conflicts",
    "export": "hand a sweep to another tool: MLflow, Weights & Biases, TensorBoard, tables (CSV), VBench-I2V",
    "doctor": "what this machine has and lacks, each trouble with its cure",
}
"""Every verb with what it does: `svdsweep.commands.<verb>` answers it."""
