"""How far a strategy's frames are from those of the baseline with the same image and seed."""

import statistics
from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context, mean_known, psnr_db
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

COMPARED_WITH = "baseline"
COLUMNS = (
    Column("bit_equal_to_baseline", "", better="higher", low=0, high=1,
           help="Whether every value of every frame is the baseline's.",
           blind_to="How much a difference matters."),
    Column("max_abs_diff_to_baseline", "levels of 255", better="lower", low=0, high=255,
           help="Largest difference of any value.",
           blind_to="How many values differ."),
    Column("psnr_to_baseline_db", "dB", better="higher", low=0, high=100, headline=2,
           help="PSNR over all frames; 100 when equal.",
           blind_to="Whether the difference is a worse picture or only another one."),
    Column("ssim_to_baseline", "", better="higher", low=-1, high=1,
           help="Structural similarity, mean over the frames.",
           blind_to="As psnr_to_baseline_db."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; nothing at all without a baseline. Series with a value a frame, which show where chunks meet:
    psnr_to_baseline_db, ssim_to_baseline."""
    if context.reference is None:
        return Measurements()
    if context.reference.shape != footage.frames.shape:
        return Measurements(notes=["the baseline has another number of frames: not compared"])
    alike = footage.likeness(COMPARED_WITH, context.reference)
    largest = max(alike.largest_255)
    return Measurements(
        values={
            "bit_equal_to_baseline": largest == 0,
            "max_abs_diff_to_baseline": largest,
            "psnr_to_baseline_db": psnr_db(statistics.fmean(alike.mse)),
            "ssim_to_baseline": mean_known(alike.ssim),
        },
        series={"psnr_to_baseline_db": [psnr_db(mse) for mse in alike.mse], "ssim_to_baseline": alike.ssim},
    )
