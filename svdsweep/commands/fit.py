"""`svdsweep fit`: the fastest strategies that are predicted to fit a card, and a time, exact ones first, as ready
commands."""

import contextlib
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from svdsweep.commands.fit_measured import Measured, measure, need_a_gpu, tighter, verdict
from svdsweep.commands.fit_told import plain, text
from svdsweep.commands.request import Parser
from svdsweep.config import Memory
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand_without_weights
from svdsweep.predict.allowance import allowance_for
from svdsweep.predict.gpus import card_of
from svdsweep.predict.here import gpu_asked
from svdsweep.predict.search import Candidate, Wish, fitting, saves_steps_only, search

CHOSEN = ("memory", "decode_chunk_size", "seed", "gpu.memory_limit_gib", "name")
"""What `fit` decides, or what makes no difference to it."""
ABOUT = """\
The fastest strategies that are predicted to fit a card, those that keep the frames first; with --seconds also in as few
steps as a time has room for. model=svd_xt unless you say otherwise; any setting of one job may be given, but memory and
decode_chunk_size, which are searched."""
EXAMPLES = """\
Seconds are floors: each operation at the card's full rate. A run takes longer,
so ask for less than you have, or let --measure tell on the card itself.

examples
  svdsweep fit --vram 8
  svdsweep fit --vram 8 --seconds 30 --gpu here --measure
  svdsweep fit --vram 8 --seconds 30 --config-dir runs/tune/presets
  svdsweep fit --vram 12 model=svd num_frames=14 --gpu rtx4090
"""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep fit …`; the exit code, or UserError."""
    asked = parser().asked(argv)
    if asked.vram is None:
        raise UserError("fit wants the size of the card: `svdsweep fit --vram 8` (GiB).")
    if asked.measure:
        need_a_gpu()
    wish = wish_of(asked)
    candidates = search(wish)
    best = fitting(candidates, wish.vram_gib)[: asked.show]
    document = plain(wish, best, candidates)
    if not asked.json:
        print(text(wish, best, candidates))
    code = 0
    if asked.measure and best:
        with contextlib.redirect_stdout(sys.stderr) if asked.json else contextlib.nullcontext():
            code, outcomes = measured(wish, best)
        document["measured"] = [outcome.plain() for outcome in outcomes]
    if asked.json:
        print(json.dumps(document, indent=1))
    return code


def parser() -> Parser:
    """The flags of the verb."""
    p = Parser("fit", ABOUT, EXAMPLES)
    p.add_grid()
    p.add_argument("--vram", type=gib_of, metavar="GIB", help="the card's memory; needed")
    about_seconds = (
        "what a video may take, its load left out: searches fewer steps too, also presets in --config-dir"
    )
    p.add_argument("--seconds", type=seconds_of, metavar="S", help=about_seconds)
    about_gpu = (
        "rank by the floor of latency on it, as in predict; `here` is this machine's, as doctor measures it; "
        "default: a published card of that size"
    )
    p.add_argument("--gpu", type=gpu_asked, metavar="NAME", help=about_gpu)
    p.add_argument("--show", type=number_of, default=3, metavar="N", help="how many to show (default: 3)")
    p.add_flag("--measure", "run the best few and tell whether they fit, memory and time")
    p.add_json()
    return p


def wish_of(asked: Namespace) -> Wish:
    """What the search is for. Raises UserError for settings that fit decides by itself, and for wrong ones."""
    for setting in asked.settings:
        name = setting.partition("=")[0]
        if name.split(".")[0] in CHOSEN or name in CHOSEN:
            raise UserError(
                f"{setting}: fit searches memory and decode_chunk_size by itself; leave {name} out."
            )
    chosen = any(s.split("=")[0] == "model" for s in asked.settings)
    settings = [*([] if chosen else ["model=svd_xt"]), *asked.settings]
    folder = expand_without_weights(settings, asked.config_dir).folder
    wish = Wish(
        asked.vram,
        settings,
        asked.gpu or card_of(asked.vram),
        allowance_for(asked.gpu.title if asked.gpu else None, folder),
        lambda wanted: expand_without_weights(wanted, asked.config_dir).jobs,
        asked.seconds,
        config_dir=asked.config_dir,
    )
    return replace(wish, presets=presets_of(wish)) if asked.seconds else wish


def presets_of(wish: Wish) -> list[Memory]:
    """The strategies of one's own that are fewer steps and nothing else, as `tune` writes them. Raises UserError."""
    files = sorted(Path(wish.config_dir, "memory").glob("*.yaml")) if wish.config_dir else []
    jobs = [(file.stem, wish.jobs_of([*wish.settings, f"memory={file.stem}"])) for file in files]
    own = [replace(job.memory, name=name) for name, (job, *_) in jobs]
    return [memory for memory in own if saves_steps_only(memory)]


def gib_of(text: str) -> float:
    """A card's memory as typed. Raises UserError."""
    return _number(text, f"--vram {text} is not possible: it is the card's memory in GiB, as in 8 or 7.8.")


def seconds_of(text: str) -> float:
    """A time as typed. Raises UserError."""
    return _number(
        text, f"--seconds {text} is not possible: it is what a video may take in seconds, as in 30 or 4.5."
    )


def _number(text: str, refusal: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 10_000:
        raise UserError(refusal)
    return number


def number_of(text: str) -> int:
    """How many to show, as typed. Raises UserError."""
    if not text.isdigit() or not 0 < int(text) < 10_000:
        raise UserError(f"--show {text} is not possible: it is how many to show, a whole number.")
    return int(text)


def measured(wish: Wish, best: Sequence[Candidate]) -> tuple[int, list[Measured]]:
    """Run the best; where all are too slow, search once more for as much less as they took above their floors, and run
    those. The exit code, and what was measured."""
    code, outcomes = measure(wish, best, wish.seconds)
    if wish.seconds and (less := tighter(outcomes, wish.seconds)):
        print(f"Too slow: searching for floors of {less:.3g} s.")
        fewer = replace(wish, seconds=less)
        again, more = measure(fewer, fitting(search(fewer), wish.vram_gib)[: len(best)], wish.seconds)
        code, outcomes = max(code, again), [*outcomes, *more]
    if wish.seconds:
        print(verdict(wish, outcomes, wish.seconds))
    return code, outcomes
