"""The verb `fit`: the fastest strategies that are predicted to fit a card, exact ones first, as ready commands."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svdsweep.combinations import FRAMES, KEEPS, LATENTS, OTHER, Candidate, Request, fitting, search
from svdsweep.predict.gpus import Gpu, known_gpus
from svdsweep.predict.here import gpu_asked
from svdsweep.schema import UserError, nearest
from svdsweep.terminal import table

FLAGS = ("--vram", "--gpu", "--show", "--measure", "--json", "--config-dir", "--help")
CHOSEN = ("memory", "decode_chunk_size", "seed", "gpu.memory_limit_gib", "name")
"""What `fit` decides, or what makes no difference to it."""
MEANING = {
    FRAMES: "same frames as memory=baseline (differences of rounding)",
    LATENTS: "same latents; decoded in chunks, which leaves faint seams between them",
    OTHER: "other pictures: without guidance, or with weights in fp8",
}
USAGE = """\
svdsweep fit --vram GIB [SETTING=VALUE …] [--gpu NAME] [--show N] [--measure] [--json] [--config-dir DIR]

The fastest strategies that are predicted to fit a card, those that keep the frames first. model=svd_xt unless you say
otherwise; any setting of one job may be given, but memory and decode_chunk_size, which are searched. Ranked by the
floor of latency on --gpu (as in predict; `here` is the GPU of this machine, which doctor measures), or on a published
card of that size. --measure runs the best few and tells whether they fit.

  svdsweep fit --vram 8
  svdsweep fit --vram 12 model=svd num_frames=14 --gpu rtx4090
"""


def main(argv: Sequence[str]) -> int:
    """Answer `svdsweep fit …`; the exit code, or UserError."""
    if any(a in ("--help", "-h") for a in argv):
        print(USAGE)
        return 0
    request = parse(argv)
    gpu = request.gpu or card_of(request.vram_gib)
    found = search(request, gpu)
    best = fitting(found, request.vram_gib)[: request.show]
    if request.json:
        print(json.dumps(plain(request, gpu, best, found), indent=1))
    else:
        print(text(request, gpu, best, found))
    return measured(request, best) if request.measure and best else 0


def parse(argv: Sequence[str]) -> Request:
    """The flags and settings. Raises UserError."""
    facts: dict[str, Any] = {"settings": []}
    rest = iter(argv)
    for argument in rest:
        flag, _, value = argument.partition("=")
        if flag in ("--measure", "--json"):
            facts[flag.removeprefix("--")] = True
        elif flag in ("--vram", "--gpu", "--show", "--config-dir"):
            value = value or next(rest, "")
            facts |= _valued(flag, value)
        elif flag.startswith("-"):
            raise UserError(
                f"{flag} is no flag of svdsweep fit.{nearest(flag, FLAGS)} They are {', '.join(FLAGS)}."
            )
        elif flag.split(".")[0] in CHOSEN or flag in CHOSEN:
            raise UserError(
                f"{argument}: fit searches memory and decode_chunk_size by itself; leave {flag} out."
            )
        else:
            facts["settings"].append(argument)
    if "vram_gib" not in facts:
        raise UserError("fit wants the size of the card: `svdsweep fit --vram 8` (GiB).")
    if not any(s.split("=")[0] == "model" for s in facts["settings"]):
        facts["settings"].insert(0, "model=svd_xt")
    return Request(**facts)


def card_of(vram_gib: float) -> Gpu:
    """The smallest card of the published table with that much memory; the largest if none has."""
    cards = sorted(known_gpus().values(), key=lambda gpu: gpu.memory_gib)
    return next((gpu for gpu in cards if gpu.memory_gib >= vram_gib), cards[-1])


def text(request: Request, gpu: Gpu, best: Sequence[Candidate], found: Sequence[Candidate]) -> str:
    """The best as a table and as commands; or that there are none, and the nearest."""
    if not best:
        if not found:
            return "No combination could be predicted; `svdsweep predict` tells why."
        least = min(found, key=lambda c: c.needed_gib)
        return (
            f"None of {len(found)} combinations fits {request.vram_gib:g} GiB. The nearest needs "
            f"{least.needed_gib:.2f} GiB ({least.summary.peak_gib:.2f} GiB of live tensors in "
            f"{least.summary.peak_stage}, with {least.allowance.words}) and keeps {least.keeps}:\n  {least.command}"
        )
    header = ["keeps", "peak_gib", "needed_gib", "peak in", "tflop", "floor_s"]
    lines = [
        [
            c.keeps,
            f"{c.summary.peak_gib:.2f}",
            f"{c.needed_gib:.2f}",
            c.summary.peak_stage,
            f"{c.summary.tflop:.0f}",
            f"{c.floor_s:.1f}",
        ]
        for c in best
    ]
    blocks = [table(header, lines, [False, True, True, False, True, True]), ""]
    blocks += [c.command for c in best]
    blocks.append("")
    blocks += [f"keeps {kept}: {MEANING[kept]}." for kept in KEEPS if any(c.keeps == kept for c in best)]
    if best[0].keeps != FRAMES:
        whole = min((c for c in found if c.keeps == FRAMES), key=lambda c: c.needed_gib, default=None)
        blocks += [f"To keep the frames takes {whole.needed_gib:.2f} GiB: {whole.command}"] if whole else []
    blocks.append(
        f"Predicted, {len(found)} combinations. needed_gib: peak_gib with {best[0].allowance.words}."
    )
    blocks.append(f"floor_s on {gpu.title} at {gpu.basis}, for the order only.")
    return "\n".join(blocks)


def plain(
    request: Request, gpu: Gpu, best: Sequence[Candidate], found: Sequence[Candidate]
) -> dict[str, Any]:
    """For JSON."""
    least = min(found, key=lambda c: c.needed_gib, default=None)
    return {
        "vram_gib": request.vram_gib,
        "gpu": gpu.title,
        "searched": len(found),
        "best": [_facts(c) for c in best],
        "nearest": _facts(least) if least and not best else None,
    }


def measured(request: Request, best: Sequence[Candidate]) -> int:
    """Run the best under a cap of the card's size and say for each whether it fits. Raises UserError without a GPU."""
    from svdsweep import sweep
    from svdsweep.cli import Request as GridRequest
    from svdsweep.grid import expand
    from svdsweep.runner.devices import discover
    from svdsweep.store import Store

    if discover("auto") == ["cpu"]:
        raise UserError("--measure needs a GPU, and there is none here; without it, fit predicts.")
    code = 0
    for c in best:
        cap = [f"gpu.memory_limit_gib={request.vram_gib:g}", f"name=fit-{request.vram_gib:g}gb"]
        settings = [*c.settings, *cap]
        code = max(code, sweep.run(GridRequest(settings, False, request.config_dir)))
        grid = expand(settings, request.config_dir)
        row = Store(Path(grid.folder)).rows().get(grid.jobs[0].key)
        peak = row.values.get("vram_allocated_peak_gib") if row else None
        told = f"{peak:.2f} GiB measured" if isinstance(peak, float) else "no peak measured"
        print(
            f"{row.status if row else 'no row'}: {told}, {c.summary.peak_gib:.2f} GiB predicted: {c.command}"
        )
    return code


def _valued(flag: str, value: str) -> dict[str, Any]:
    if not value:
        raise UserError(f"{flag} wants a value.")
    if flag == "--gpu":
        return {"gpu": gpu_asked(value)}
    if flag == "--config-dir":
        return {"config_dir": value}
    try:
        number = float(value)
        if not 0 < number < 10_000 or (flag == "--show" and number != int(number)):
            raise ValueError
    except ValueError as e:
        wanted = (
            "how many to show, a whole number"
            if flag == "--show"
            else "the card's memory in GiB, as in 8 or 7.8"
        )
        raise UserError(f"{flag} {value} is not possible: it is {wanted}.") from e
    return {"show": int(number)} if flag == "--show" else {"vram_gib": number}


def _facts(c: Candidate) -> dict[str, Any]:
    return {
        "command": c.command,
        "keeps": c.keeps,
        "predicted_vram_gib": c.summary.peak_gib,
        "needed_vram_gib": c.needed_gib,
        "allowance": c.allowance.words,
        "peak_stage": c.summary.peak_stage,
        "tflop": c.summary.tflop,
        "eager_floor_s": c.floor_s,
    }
