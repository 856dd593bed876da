"""Whether the borders of decode chunks show: the change of frames there against the change elsewhere."""

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context
from svdsweep.metrics.temporal import DUPLICATE_255
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

FLOOR_255 = 0.25
"""Added to every change, in levels: without it a noise-free pan has seams by chance."""
SMALLEST_CHUNK = 4
RATIO, OVER_PLACEBO = 1.5, 1.2
"""A seam is flagged at this ratio, and this many times the largest at any other phase."""

COLUMNS = (
    Column("seam_ratio", "", better="lower", low=0,
           help="Change across the borders of decode chunks, motion taken out, over the change of their "
                "neighbours; 1 is none.",
           blind_to=f"Chunks under {SMALLEST_CHUNK} frames and clips with repeated frames (empty then); seams "
                    "under 2 to 4 levels in real motion. Empty, too, where the flow breaks off at the borders: "
                    "see seam_flagged."),
    Column("seam_rank", "", low=1,
           help="Rank of seam_ratio among the ratios of all phases of the chunks' length; 1 is the largest.",
           blind_to="Means nothing alone: some phase is always the first."),
    Column("seam_placebo_ratio", "", low=0, help="The largest ratio at any other phase."),
    Column("seam_flagged", "", better="lower", low=0, high=1,
           help=f"Whether there is a seam: ratio above {RATIO}, the first of all phases, and {OVER_PLACEBO} times "
                "the next.",
           blind_to="As seam_ratio."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; None where the clip was decoded at once, or where a ratio would mean nothing. Series with a
    value a pair: warp_rmse_255."""
    scores = Measurements(values={column.name: None for column in COLUMNS})
    chunk = context.decode_chunk_size
    if chunk is None or chunk >= footage.count:
        return scores
    if chunk < SMALLEST_CHUNK:
        short = f"chunks of {chunk}: too short for a seam ratio; compare with the frames decoded at once"
        scores.notes.append(short)
        return scores
    if min(footage.changes) < DUPLICATE_255:
        scores.notes.append("repeated frames: no seam ratio")
        return scores
    change = [None if mse is None else 255 * math.sqrt(mse) for mse in footage.warp_mse]
    scores.series["warp_rmse_255"] = change
    scores.add(_compared(change, chunk))
    return scores


def _compared(change: Sequence[float | None], chunk: int) -> Measurements:
    """The columns, from the change at the borders of chunks against that at borders of every other phase."""
    ratios = [ratio_at(change, chunk, phase) for phase in range(chunk)]
    asked, placebos = ratios[0], [r for r in ratios[1:] if r is not None]
    unknown = [t for t, value in enumerate(change) if value is None]
    if asked is None and unknown == borders(len(change), chunk):  # by a seam too strong to be measured
        broken = "seams: the flow breaks off at the borders of the chunks and nowhere else"
        return Measurements({"seam_flagged": True}, notes=[broken])
    if asked is None or not placebos:
        return Measurements(notes=["the flow covers too few pairs for a seam ratio"])
    rank = 1 + sum(r > asked for r in placebos)
    flagged = asked > RATIO and rank == 1 and asked > OVER_PLACEBO * max(placebos)
    return Measurements(
        {"seam_ratio": asked, "seam_rank": rank, "seam_placebo_ratio": max(placebos), "seam_flagged": flagged}
    )


def borders(pairs: int, chunk: int, phase: int = 0) -> list[int]:
    """The pairs (t, t + 1) that lie across a border, which are those with t + 1 a multiple of the chunk's length."""
    return [t for t in range(pairs) if (t + 1) % chunk == phase]


def ratio_at(change: Sequence[float | None], chunk: int, phase: int) -> float | None:
    """Geometric mean over the borders of the change there over the median of up to four pairs beside it."""
    across = borders(len(change), chunk, phase)
    logs = []
    for t in across:
        beside = [
            value
            for i in (t - 2, t - 1, t + 1, t + 2)
            if 0 <= i < len(change) and i not in across and (value := change[i]) is not None
        ]
        here = change[t]
        if here is not None and beside:
            logs.append(math.log((here + FLOOR_255) / (statistics.median(beside) + FLOOR_255)))
    return math.exp(statistics.fmean(logs)) if logs else None
