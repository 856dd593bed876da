"""`svdsweep tune`: searches noise levels for few steps that come nearest to the full run on one's own pictures."""

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from svdsweep import terminal
from svdsweep.commands.request import Parser
from svdsweep.commands.run import check_writable, fetch_weights, say, warn
from svdsweep.config import Job
from svdsweep.errors import DONE, UserError
from svdsweep.grid.expand import Grid, expand, expand_without_weights
from svdsweep.predict.allowance import Allowance, allowance_for
from svdsweep.predict.gpus import Gpu, known_gpus
from svdsweep.predict.here import gpu_asked
from svdsweep.runner.progress import for_terminal
from svdsweep.search.tune_cases import check, split
from svdsweep.search.tune_plan import Part, plan
from svdsweep.search.tune_stages import Wish
from svdsweep.store.manifest import Manifest, write_manifest
from svdsweep.store.places import refuse_links
from svdsweep.store.rows import Store
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
        parts = plan(wish, asked.gpu, allowance)
        told = [asdict(part) for part in parts]
        print(json.dumps(told, indent=1) if asked.json else planned(parts, asked.gpu, allowance))
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
        "--trials",
        type=count_of,
        default=128,
        metavar="N",
        help="schedules for each number of steps (default: 128)",
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

    tune_study.check()
    from svdsweep.search.tune_figures import costs, figures
    from svdsweep.search.tune_files import Found
    from svdsweep.search.tune_run import folder_name, search

    name, cases = grid.given_name or folder_name(wish), wish.cases
    folder = grid.runs_dir / name
    store = Store(folder)
    warn(grid)
    refuse_links(folder, f"rows/{store.path.name}")
    check_writable(folder)
    fetch_weights(cases.all)
    say(f"{folder}: {len(cases.searched)} cases searched, {len(cases.held_out)} held out")

    def begun(jobs: Sequence[Job]) -> None:
        keys = [job.key for job in jobs]
        write_manifest(
            folder, Manifest(name, asked.settings, asked.config_dir, {}, keys, grid.tags, grid.note)
        )

    outcome, rows = search(wish, load_worker, grid.runner, store, for_terminal(), begun)
    terminal.warn(folder, store.faults)
    date = datetime.now(UTC).date().isoformat()
    return Found(wish, outcome, figures(outcome, rows), costs(rows), folder, date)


def planned(parts: Sequence[Part], gpu: Gpu | None, allowance: Allowance) -> str:
    """The plan for the terminal."""
    header = ["part", "runs", "unet_calls", "vram_gib", *(["floor_min"] if gpu else [])]
    lines = [
        [p.name, str(p.runs), str(p.all_calls), terminal.cell(p.vram_gib), terminal.cell(p.floor_min)]
        for p in parts
    ]
    shown = [line[: len(header)] for line in lines]
    runs, calls = sum(part.runs for part in parts), sum(part.all_calls for part in parts)
    said = [f"{runs} runs, {calls} calls of the UNet; nothing was run."]
    said += [f"vram_gib is predicted, with {allowance.words}."]
    said += [f"not predicted: {reason}" for reason in dict.fromkeys(p.not_predicted for p in parts) if reason]
    if gpu:
        hours = sum(part.floor_s or 0.0 for part in parts) / 3600
        said.append(f"No {gpu.title} takes less than {hours:.1f} hours; several share the runs.")
    right = [False, *(True,) * (len(header) - 1)]
    return "\n".join([terminal.table(header, shown, right), *said])


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
