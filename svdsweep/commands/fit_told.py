"""What `fit` says: the best as a table and as commands, or how far the nearest are; and the same as JSON."""

from collections.abc import Sequence
from typing import Any

from svdsweep.predict.search import FRAMES, KEEPS, LATENTS, LIKENESS, OTHER, Candidate, Wish, nearest
from svdsweep.terminal import table

MEANING = {
    FRAMES: "same frames as memory=baseline (differences of rounding)",
    LATENTS: "same latents; decoded in chunks, which leaves faint seams between them, or by another decoder",
    LIKENESS: "other frames in fewer steps: the more calls of the UNet, the nearer to those of all steps",
    OTHER: "other pictures: without guidance, or with weights in fp8",
}
ABOVE_THE_FLOOR = "1.7 times (compiled) to 3.1 times as long"
"""What an H200 measured of SVD-XT beside floors at its published rates (runs/published/h200)."""


def text(wish: Wish, best: Sequence[Candidate], candidates: Sequence[Candidate]) -> str:
    """The best as a table and as commands; or that there are none, and the nearest."""
    if not best:
        return nothing_fits(wish, candidates)
    header = [
        "keeps",
        "peak_gib",
        "needed_gib",
        "peak in",
        "tflop",
        "floor_s",
        *(["calls"] if wish.seconds else []),
    ]
    lines = []
    for c in best:
        p = c.prediction
        gib = [f"{p.peak_gib:.2f}", f"{c.needed_gib:.2f}"]
        calls = [str(c.calls)] if wish.seconds else []
        lines.append([c.keeps, *gib, p.peak_stage, f"{p.tflop:.0f}", f"{c.floor_s:.1f}", *calls])
    right = [False, True, True, False, *[True] * (len(header) - 4)]
    blocks = [table(header, lines, right), "", *(c.command for c in best), ""]
    blocks += [f"keeps {kept}: {MEANING[kept]}." for kept in KEEPS if any(c.keeps == kept for c in best)]
    if best[0].keeps != FRAMES:
        blocks += to_keep_the_frames(wish, candidates)
    needed = f"needed_gib: peak_gib with {wish.allowance.words}."
    return "\n".join([*blocks, f"Predicted, {len(candidates)} combinations. {needed}", about_floors(wish)])


def to_keep_the_frames(wish: Wish, candidates: Sequence[Candidate]) -> list[str]:
    """What keeps the frames and needs least, of what fits the memory the time; nothing where none was looked at."""
    whole = [c for c in candidates if c.keeps == FRAMES]
    if wish.seconds and (there := [c for c in whole if c.in_memory]):
        fastest = min(there, key=lambda c: c.floor_s)
        return [f"To keep the frames takes {fastest.floor_s:.1f} s or more: {fastest.command}"]
    least = min(whole, key=lambda c: c.needed_gib, default=None)
    return [f"To keep the frames takes {least.needed_gib:.2f} GiB: {least.command}"] if least else []


def about_floors(wish: Wish) -> str:
    """What `floor_s` is, and is not."""
    floor = f"floor_s on {wish.gpu.title} at {wish.gpu.basis}"
    if not wish.seconds:
        return f"{floor}, for the order only."
    return (
        f"{floor}: no run can take less, and each takes longer, on an H200 {ABOVE_THE_FLOOR}. `--measure`, on the "
        "card, tells."
    )


def nothing_fits(wish: Wish, candidates: Sequence[Candidate]) -> str:
    """How far the nearest combination is from the card, and from the time."""
    if not candidates:
        return "No combination could be predicted; `svdsweep predict` tells why."
    small, fast = nearest(candidates)
    least = min(candidates, key=lambda c: c.needed_gib)
    if not wish.seconds or not (small or fast):
        return (
            f"None of {len(candidates)} combinations fits {wish.vram_gib:g} GiB. The nearest needs "
            f"{least.needed_gib:.2f} GiB ({least.prediction.peak_gib:.2f} GiB of live tensors in "
            f"{least.prediction.peak_stage}, with {wish.allowance.words}) and keeps {least.keeps}:\n  {least.command}"
        )
    gib, seconds = f"{wish.vram_gib:g} GiB", f"{wish.seconds:g} s"
    said = [f"Nothing of {len(candidates)} combinations is within {gib} and {seconds}."]
    if small:
        said.append(f"{gib} takes {small.floor_s:.1f} s or more ({_kept(small)}):\n  {small.command}")
    else:
        said.append(
            f"No combination fits {gib}; the nearest needs {least.needed_gib:.2f} GiB:\n  {least.command}"
        )
    if fast:
        said.append(f"{seconds} takes {fast.needed_gib:.2f} GiB ({_kept(fast)}):\n  {fast.command}")
    else:
        quick = min(candidates, key=lambda c: c.floor_s)
        said.append(
            f"No combination takes {seconds}; the fastest takes {quick.floor_s:.1f} s or more:\n  {quick.command}"
        )
    return "\n".join([*said, about_floors(wish)])


def _kept(c: Candidate) -> str:
    return f"keeps {c.keeps}, {c.calls} calls of the UNet"


def plain(wish: Wish, best: Sequence[Candidate], candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What the search found, as JSON has it."""
    least = min(candidates, key=lambda c: c.needed_gib, default=None)
    document = {
        "vram_gib": wish.vram_gib,
        "gpu": wish.gpu.title,
        "searched": len(candidates),
        "best": [_facts(c) for c in best],
        "nearest": _facts(least) if least and not best else None,
    }
    if wish.seconds:
        small, fast = nearest(candidates) if not best else (None, None)
        document |= {"seconds": wish.seconds, "rates": wish.gpu.basis}
        document |= {"nearest_in_memory": small and _facts(small), "nearest_in_time": fast and _facts(fast)}
    return document


def _facts(c: Candidate) -> dict[str, Any]:
    return {
        "command": c.command,
        "keeps": c.keeps,
        "unet_calls": c.calls,
        "predicted_vram_gib": c.prediction.peak_gib,
        "needed_vram_gib": c.needed_gib,
        "allowance": c.wish.allowance.words,
        "peak_stage": c.prediction.peak_stage,
        "tflop": c.prediction.tflop,
        "eager_floor_s": c.floor_s,
    }
