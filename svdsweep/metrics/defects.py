"""Counts frames that are no pictures: a black or constant clip would be best by every measure of consistency."""

from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context
from svdsweep.metrics.temporal import DUPLICATE_255
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

FLAT_255, BLACK_255 = 2.0, 4.0
"""Levels below which a frame's contrast (standard deviation of luma) and its brightest luma are nothing."""
SATURATED_SHARE = 0.5

COLUMNS = (
    Column("nonfinite_values", "values", better="lower", low=0,
           help="NaN and infinite values before frames became 0–255.",
           blind_to="Unknown for video files."),
    Column("flat_frames", "frames", better="lower", low=0,
           help=f"Frames of one colour: standard deviation of luma below {FLAT_255:g} levels.",
           blind_to="A flat colour with noise on it."),
    Column("black_frames", "frames", better="lower", low=0,
           help=f"Frames with no luma above {BLACK_255:g} levels.",
           blind_to="A black frame with a speck of light."),
    Column("frozen_frames", "frames", better="lower", low=0,
           help=f"Frames that differ from the one before by less than {DUPLICATE_255:g} levels in the mean.",
           blind_to="Whether standing still was asked for."),
    Column("saturated_frames", "frames", better="lower", low=0,
           help=f"Frames with more than {SATURATED_SHARE:.0%} of the values at 0 or 255.",
           blind_to="Pictures that are meant so (stars, paper)."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`. Series with a value a frame: contrast_255, the standard deviation of luma."""
    levels = footage.levels
    return Measurements(
        values={
            "nonfinite_values": context.nonfinite_values,
            "flat_frames": sum(contrast < FLAT_255 for contrast in levels.contrast),
            "black_frames": sum(largest <= BLACK_255 for largest in levels.largest),
            "frozen_frames": sum(change < DUPLICATE_255 for change in footage.changes),
            "saturated_frames": sum(share > SATURATED_SHARE for share in levels.saturated),
        },
        series={"contrast_255": [*levels.contrast]},
    )
