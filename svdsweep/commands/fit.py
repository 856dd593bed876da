"""`svdsweep fit`: the fastest strategies that are predicted to fit a card, exact ones first, as ready commands."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from svdsweep.commands.request import Parser
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand, expand_without_weights
from svdsweep.predict.allowance import allowance_for
from svdsweep.predict.gpus import card_of
from svdsweep.predict.here import gpu_asked
from svdsweep.predict.search import FRAMES, KEEPS, LATENTS, OTHER, Candidate, Wish, fitting, search
from svdsweep.probes.devices import discover
from svdsweep.store.rows import Store
from svdsweep.terminal import table

CHOSEN = ("memory", "decode_chunk_size", "seed", "gpu.memory_limit_gib", "name")
"""What `fit` decides, or what makes no difference to it."""
MEANING = {
    FRAMES: "same frames as memory=baseline (differences of rounding)",
    LATENTS: "same latents; decoded in chunks, which leaves faint seams between them, or by another decoder",
    OTHER: "other pictures: without guidance, or with weights in fp8",
}
ABOUT = """\
The fastest strategies that are predicted to fit a card, those that keep the frames first. model=svd_xt unless you say
otherwise; any setting of one job may be given, but memory and decode_chunk_size, which are searched."""
EXAMPLES = """\
examples
  svdsweep fit --vram 8
  svdsweep fit --vram 12 model=svd num_frames=14 --gpu rtx4090
"""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep fit …`; the exit code, or UserError."""
    asked = parser().asked(argv)
    if asked.vram is None:
        raise UserError("fit wants the size of the card: `svdsweep fit --vram 8` (GiB).")
    wish = wish_of(asked)
    candidates = search(wish)
    best = fitting(candidates, wish.vram_gib)[: asked.show]
    print(json.dumps(plain(wish, best, candidates), indent=1) if asked.json else text(wish, best, candidates))
    return measured(wish.vram_gib, best, asked.config_dir) if asked.measure and best else 0


def parser() -> Parser:
    """The flags of the verb."""
    p = Parser("fit", ABOUT, EXAMPLES)
    p.add_grid()
    p.add_argument("--vram", type=gib_of, metavar="GIB", help="the card's memory; needed")
    about_gpu = (
        "rank by the floor of latency on it, as in predict; `here` is this machine's, as doctor measures it; "
        "default: a published card of that size"
    )
    p.add_argument("--gpu", type=gpu_asked, metavar="NAME", help=about_gpu)
    p.add_argument("--show", type=number_of, default=3, metavar="N", help="how many to show (default: 3)")
    p.add_flag("--measure", "run the best few and tell whether they fit")
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
    return Wish(
        asked.vram,
        settings,
        asked.gpu or card_of(asked.vram),
        allowance_for(asked.gpu.title if asked.gpu else None, folder),
        lambda wanted: expand_without_weights(wanted, asked.config_dir).jobs,
    )


def gib_of(text: str) -> float:
    """A card's memory as typed. Raises UserError."""
    try:
        gib = float(text)
    except ValueError:
        gib = 0.0
    if not 0 < gib < 10_000:
        raise UserError(f"--vram {text} is not possible: it is the card's memory in GiB, as in 8 or 7.8.")
    return gib


def number_of(text: str) -> int:
    """How many to show, as typed. Raises UserError."""
    if not text.isdigit() or not 0 < int(text) < 10_000:
        raise UserError(f"--show {text} is not possible: it is how many to show, a whole number.")
    return int(text)


def text(wish: Wish, best: Sequence[Candidate], candidates: Sequence[Candidate]) -> str:
    """The best as a table and as commands; or that there are none, and the nearest."""
    if not best:
        return nothing_fits(wish, candidates)
    header = ["keeps", "peak_gib", "needed_gib", "peak in", "tflop", "floor_s"]
    lines = []
    for c in best:
        p = c.prediction
        gib = [f"{p.peak_gib:.2f}", f"{c.needed_gib:.2f}"]
        lines.append([c.keeps, *gib, p.peak_stage, f"{p.tflop:.0f}", f"{c.floor_s:.1f}"])
    right = [False, True, True, False, True, True]
    blocks = [table(header, lines, right), "", *(c.command for c in best), ""]
    blocks += [f"keeps {kept}: {MEANING[kept]}." for kept in KEEPS if any(c.keeps == kept for c in best)]
    if best[0].keeps != FRAMES:
        whole = min((c for c in candidates if c.keeps == FRAMES), key=lambda c: c.needed_gib, default=None)
        blocks += [f"To keep the frames takes {whole.needed_gib:.2f} GiB: {whole.command}"] if whole else []
    needed = f"needed_gib: peak_gib with {wish.allowance.words}."
    floor = f"floor_s on {wish.gpu.title} at {wish.gpu.basis}, for the order only."
    return "\n".join([*blocks, f"Predicted, {len(candidates)} combinations. {needed}", floor])


def nothing_fits(wish: Wish, candidates: Sequence[Candidate]) -> str:
    """How far the nearest combination is from the card."""
    if not candidates:
        return "No combination could be predicted; `svdsweep predict` tells why."
    least = min(candidates, key=lambda c: c.needed_gib)
    return (
        f"None of {len(candidates)} combinations fits {wish.vram_gib:g} GiB. The nearest needs "
        f"{least.needed_gib:.2f} GiB ({least.prediction.peak_gib:.2f} GiB of live tensors in "
        f"{least.prediction.peak_stage}, with {wish.allowance.words}) and keeps {least.keeps}:\n  {least.command}"
    )


def plain(wish: Wish, best: Sequence[Candidate], candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What the search found, as JSON has it."""
    least = min(candidates, key=lambda c: c.needed_gib, default=None)
    return {
        "vram_gib": wish.vram_gib,
        "gpu": wish.gpu.title,
        "searched": len(candidates),
        "best": [_facts(c) for c in best],
        "nearest": _facts(least) if least and not best else None,
    }


def measured(vram_gib: float, best: Sequence[Candidate], config_dir: str | None) -> int:
    """Run the best under a cap of the card's size and say for each whether it fits. Raises UserError without a GPU."""
    from svdsweep.commands.run import run

    if discover("auto") == ["cpu"]:
        raise UserError("--measure needs a GPU, and there is none here; without it, fit predicts.")
    code = 0
    for c in best:
        settings = [*c.settings, f"gpu.memory_limit_gib={vram_gib:g}", f"name=fit-{vram_gib:g}gb"]
        code = max(code, run(settings, config_dir))
        grid = expand(settings, config_dir)
        row = Store(grid.folder).rows().get(grid.jobs[0].key)
        peak = row.values.get("vram_allocated_peak_gib") if row else None
        told = f"{peak:.2f} GiB measured" if isinstance(peak, float) else "no peak measured"
        status = row.status if row else "no row"
        print(f"{status}: {told}, {c.prediction.peak_gib:.2f} GiB predicted: {c.command}")
    return code


def _facts(c: Candidate) -> dict[str, Any]:
    return {
        "command": c.command,
        "keeps": c.keeps,
        "predicted_vram_gib": c.prediction.peak_gib,
        "needed_vram_gib": c.needed_gib,
        "allowance": c.wish.allowance.words,
        "peak_stage": c.prediction.peak_stage,
        "tflop": c.prediction.tflop,
        "eager_floor_s": c.floor_s,
    }
