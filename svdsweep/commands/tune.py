"""`svdsweep tune`: searches noise levels for few steps that come nearest to the full run on one's own pictures."""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from svdsweep import terminal
from svdsweep.commands.request import Parser
from svdsweep.commands.run import check_writable, say, warn
from svdsweep.config import Job
from svdsweep.config.keys import digest
from svdsweep.errors import DONE, UserError
from svdsweep.grid.expand import Grid, expand, expand_without_weights
from svdsweep.models.decoders.locate import fetch_decoder
from svdsweep.models.locate import fetch
from svdsweep.predict.allowance import Allowance, allowance_for
from svdsweep.predict.gpus import known_gpus
from svdsweep.predict.here import gpu_asked
from svdsweep.runner import run_jobs
from svdsweep.runner.progress import for_terminal
from svdsweep.search.tune_cases import check, split
from svdsweep.search.tune_plan import Part, plan
from svdsweep.search.tune_stages import Outcome, Wish, stages
from svdsweep.store.manifest import Manifest, write_manifest
from svdsweep.store.places import refuse_links
from svdsweep.store.rows import Row, Store
from svdsweep.worker import load_worker

if TYPE_CHECKING:
    from svdsweep.search.tune_files import Found

CASES = ("image", "seed", "motion_bucket_id")
PACKAGED = "astronaut,chelsea,coffee,rocket,sprite_pair,sprite_right,sprite_up,sprite_white"
DEFAULTS = {"image": PACKAGED, "seed": "0,1,2", "motion_bucket_id": "60,127,180"}
"""The cases of a command line that names none."""
SETTINGS = {"num_inference_steps": "25", "metrics": "none", "measure.noise_floor": "false"}
"""What is set unless the command line does: the full run, and nothing that a search does not look at."""
ABOUT = """\
Search noise levels for few steps that come nearest to the full run (num_inference_steps, 25 unless given) on your
pictures: CMA-ES over falling levels, from those of Align Your Steps on. The cases are what the grid spans, one of each
picture and seed; some are searched on, all figures are of others. What is better becomes a preset for --config-dir."""
EXAMPLES = """\
The trials are jobs of a sweep: the same command goes on where it ended, and
several machines that share its folder share them. svdsweep report shows them.

examples
  svdsweep tune --steps 6,8
  svdsweep tune --steps 6 "image=photos/*.jpg" "seed=range(4)" model=svd_xt
  svdsweep tune --steps 6 model=svd_xt model.weights=random --plan --gpu h100
  svdsweep model=svd_xt memory=tuned_6 --config-dir runs/tune-0123456789/presets
"""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep tune …`: 0, also where nothing better was found; raises UserError and KeyboardInterrupt."""
    asked = parser().asked(argv)
    if asked.steps is None:
        raise UserError(
            "tune wants the number of steps to search for: `svdsweep tune --steps 6`, or --steps 6,8."
        )
    settings = settings_of(asked.settings)
    grid = (expand_without_weights if asked.plan else expand)(settings, asked.config_dir)
    check(grid.jobs, asked.steps)
    cases = split(grid.jobs, asked.searched, asked.held_out, asked.draw)
    wish = Wish(cases, asked.steps, asked.trials, asked.draw)
    if asked.plan:
        allowance = allowance_for(asked.gpu.title if asked.gpu else None, grid.folder)
        print(planned(plan(wish, asked.gpu, allowance), asked, allowance))
        return DONE
    found = run(wish, grid, asked)
    from svdsweep.search import tune_files

    presets = tune_files.write(found)
    print(json.dumps(tune_files.document(found), indent=1) if asked.json else tune_files.text(found))
    say(f"table and plot   {found.folder / 'tune.md'}  (.json, .svg, .png; trials.csv, study.db)")
    for preset in presets:
        say(f"preset           {preset}")
    return DONE


def parser() -> Parser:
    """The flags of the verb."""
    p = Parser("tune", ABOUT, EXAMPLES)
    p.add_grid()
    p.add_argument("--steps", type=steps_of, metavar="N,M", help="calls of the UNet to search for; needed")
    p.add_argument(
        "--trials", type=count_of, default=80, metavar="N", help="schedules a number of steps (default: 80)"
    )
    p.add_argument(
        "--searched", type=count_of, default=4, metavar="N", help="cases to search on (default: 4)"
    )
    p.add_argument(
        "--held-out", type=count_of, default=12, metavar="N", help="cases to show (default: 12 at most)"
    )
    about_draw = "seed of the split of the cases and of the search (default: 0)"
    p.add_argument("--draw", type=draw_of, default=0, metavar="SEED", help=about_draw)
    p.add_flag("--plan", "tell the runs, UNet calls and predicted memory; run nothing, need no weights")
    about_gpu = f"with --plan: the floor of its time on {', '.join(known_gpus())} or here"
    p.add_argument("--gpu", type=gpu_asked, metavar="NAME", help=about_gpu)
    p.add_json()
    return p


def settings_of(asked: Sequence[str]) -> list[str]:
    """The grid with defaults for what it does not name: cases where it names none of them, and the full run."""
    named = {setting.partition("=")[0] for setting in asked}
    cases = {} if named & set(CASES) else DEFAULTS
    return [*(f"{k}={v}" for k, v in (SETTINGS | cases).items() if k not in named), *asked]


def run(wish: Wish, grid: Grid, asked: Namespace) -> "Found":
    """Run the search, or what is left of it, and judge it. Raises UserError and KeyboardInterrupt."""
    from svdsweep.search import tune_study
    from svdsweep.search.tune_figures import costs, figures
    from svdsweep.search.tune_files import Found

    tune_study.check()
    searches = wish.searches()
    warn(grid)
    folder = grid.runs_dir / (
        grid.given_name or f"tune-{digest(sorted(job.key for job in wish.cases.all))[:8]}"
    )
    store, outcome, watch = Store(folder), Outcome(), for_terminal()
    terminal.warn(folder, store.faults)
    refuse_links(folder, f"rows/{store.path.name}")
    check_writable(folder)
    for model in {job.model for job in wish.cases.all}:
        fetch(model)
        fetch_decoder(model)
    say(f"{folder}: {len(wish.cases.searched)} cases searched, {len(wish.cases.held_out)} held out")

    def told(outcome: Outcome) -> None:
        tune_study.record(folder, outcome.trials)
        for search in searches:
            first, best = search.trials[0].nearness_db or 0.0, search.best.nearness_db or 0.0
            watch.told(
                f"{search.steps} steps, generation {search.generation} of {wish.generations}: {best:.2f} dB on the "
                f"searched cases, Align Your Steps {first:.2f}"
            )

    road = stages(wish, outcome, searches, told)
    jobs: dict[str, Job] = {}

    def note(stage: Sequence[Job]) -> Sequence[Job]:
        jobs.update((job.key, job) for job in stage)
        write_manifest(
            folder,
            Manifest(folder.name, asked.settings, asked.config_dir, {}, list(jobs), grid.tags, grid.note),
        )
        return stage

    def more(rows: Mapping[str, Row]) -> Sequence[Job]:
        try:
            return note(road.send(rows))
        except StopIteration:
            return []

    for _ in run_jobs(note(next(road)), load_worker, grid.runner, store, watch, more):
        pass
    rows = {key: row for key, row in store.rows().items() if key in jobs}
    date = datetime.now(UTC).date().isoformat()
    return Found(wish, outcome, figures(outcome, rows), costs(rows), folder, date)


def planned(parts: Sequence[Part], asked: Namespace, allowance: Allowance) -> str:
    """The plan for the terminal or as JSON."""
    if asked.json:
        return json.dumps([asdict(part) for part in parts], indent=1)
    floors = ["floor_min"] if asked.gpu else []
    lines = [
        [part.name, str(part.runs), str(part.runs * part.unet_calls), terminal.cell(part.vram_gib)]
        + [terminal.cell(part.floor_s and part.floor_s / 60)] * len(floors)
        for part in parts
    ]
    floor_s = sum(part.floor_s or 0.0 for part in parts)
    total = (
        f"{sum(part.runs for part in parts)} runs, {sum(part.runs * part.unet_calls for part in parts)} calls"
    )
    said = [f"{total} of the UNet; nothing was run. vram_gib is predicted, with {allowance.words}."]
    said += [f"not predicted: {reason}" for reason in dict.fromkeys(p.not_predicted for p in parts) if reason]
    if asked.gpu:
        said.append(f"No {asked.gpu.title} takes less than {floor_s / 3600:.1f} hours; GPUs share the runs.")
    header = ["part", "runs", "unet_calls", "vram_gib", *floors]
    return "\n".join([terminal.table(header, lines, [False, *(True,) * (len(header) - 1)]), *said])


def steps_of(text: str) -> tuple[int, ...]:
    """Numbers of steps as typed. Raises UserError."""
    parts = text.split(",")
    if not all(part.isdecimal() and 2 <= int(part) < 1000 for part in parts):
        raise UserError(f"--steps {text} is not possible: whole numbers from 2 on, as in 6 or 6,8.")
    return tuple(dict.fromkeys(map(int, parts)))


def count_of(text: str) -> int:
    """A number from 1 on as typed. Raises UserError."""
    if not (text.isdecimal() and 1 <= int(text) < 100_000):
        raise UserError(
            f"{text} is not possible for --trials, --searched or --held-out: a whole number from 1 on."
        )
    return int(text)


def draw_of(text: str) -> int:
    """A seed as typed. Raises UserError."""
    if not (text.isdecimal() and int(text) < 2**32):
        raise UserError(f"--draw {text} is not possible: a whole number from 0 on, below 2^32.")
    return int(text)
