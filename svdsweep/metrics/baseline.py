"""How far a strategy's frames are from those of the baseline with the same image and seed."""

from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

COLUMNS = (
    Column(
        "bit_equal_to_baseline",
        "",
        0,
        1,
        "higher",
        "Whether every value of every frame is the baseline's.",
        "How much a difference matters.",
    ),
    Column(
        "max_abs_diff_to_baseline",
        "levels of 255",
        0,
        255,
        "lower",
        "Largest difference of any value.",
        "How many values differ.",
    ),
    Column(
        "psnr_to_baseline_db",
        "dB",
        0,
        100,
        "higher",
        "PSNR over all frames; 100 when equal.",
        "Whether the difference is a worse picture or only another one.",
    ),
    Column(
        "ssim_to_baseline",
        "",
        -1,
        1,
        "higher",
        "Structural similarity, mean over the frames.",
        "As psnr_to_baseline_db.",
    ),
)


def score(footage: "Footage", context: Context) -> Measurements:
    """See `COLUMNS`; nothing at all without a baseline. Series a frame, which show where chunks meet:
    psnr_to_baseline_db, ssim_to_baseline."""
    import numpy as np

    from svdsweep.metrics.shared.footage import as_tensor, mean_known
    from svdsweep.metrics.shared.likeness import Windowed, psnr_db, ssim

    if context.reference is None:
        return Measurements()
    if context.reference.shape != footage.frames.shape:
        return Measurements(notes=["the baseline has another number of frames: not compared"])
    largest, squares, likeness = 0, [], []
    for mine, theirs in zip(footage.frames, context.reference, strict=True):
        largest = max(largest, int(np.abs(mine.astype(np.int16) - theirs).max()))
        a, b = (Windowed(as_tensor(frame[None], footage.device)) for frame in (mine, theirs))
        squares.append(float((a.x - b.x).square().mean()))
        likeness.append(ssim(a, b))
    return Measurements(
        values={
            "bit_equal_to_baseline": largest == 0,
            "max_abs_diff_to_baseline": largest,
            "psnr_to_baseline_db": psnr_db(sum(squares) / len(squares)),
            "ssim_to_baseline": mean_known(likeness),
        },
        series={"psnr_to_baseline_db": [psnr_db(mse) for mse in squares], "ssim_to_baseline": likeness},
    )
