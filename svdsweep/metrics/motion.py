"""How much moves. To be read beside consistency, for a picture that stands still is perfectly consistent."""

import statistics
from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context, mean_known
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

STATIC_PCT = 0.05
"""Less mean motion than this, in percent of the shorter side, is a standing picture."""
TOP = 0.05
DYNAMIC_OF_SIDE = 6 / 256
"""VBench's threshold for the fastest 5 % of the picture, as a share of the shorter side."""

COLUMNS = (
    Column("motion_px", "px/frame", low=0, headline=3,
           help="Mean length of the optical flow where it holds.",
           blind_to="Pairs and places that the flow does not cover (low_coverage_pairs, flow_coverage); motion of "
                    "flat areas."),
    Column("motion_pct", "% of the shorter side", low=0,
           help="motion_px for comparing sizes.",
           blind_to="As motion_px."),
    Column("motion_top5_px", "px/frame", low=0,
           help="Mean length of the fastest 5 % of the flow: a small thing that moves.",
           blind_to="As motion_px; noise raises it."),
    Column("dynamic", "", low=0, high=1,
           help="Whether the fastest 5 % pass VBench's threshold in a quarter of the pairs. Not VBench's own "
                "number: that one takes RAFT's flow.",
           blind_to="As motion_top5_px."),
    Column("static_video", "", low=0, high=1,
           help=f"Whether motion_pct is below {STATIC_PCT}: consistency says nothing then.",
           blind_to="A small thing that moves on a standing ground."),
    Column("flow_coverage", "of the picture", low=0, high=1, headline=1,
           help="Where flow there and back agree: how much the motion-compensated columns rest on.",
           blind_to="Whether the flow is right in flat areas."),
    Column("low_coverage_pairs", "pairs", better="lower", low=0,
           help="Pairs whose flow holds on less than 30 % of the picture: a cut, or motion too fast; left out of "
                "the rest.",
           blind_to="Cuts between pictures of like content."),
    Column("flow_method", "", help="How the flow was computed; never compare across methods."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`. Series with a value a pair: flow_coverage; motion_px and motion_top5_px, None where the flow
    does not cover enough."""
    from svdsweep.metrics.shared import flow

    scores = Measurements(values={column.name: None for column in COLUMNS})
    if footage.count < 2:
        scores.notes.append("one frame: there is no motion to measure")
        return scores
    mean, top = _speeds(footage)
    motion_px = mean_known(mean)
    scores.values.update(
        motion_px=motion_px,
        motion_top5_px=mean_known(top),
        flow_coverage=statistics.fmean(footage.coverage),
        low_coverage_pairs=footage.covered.count(False),
        flow_method=f"{flow.NAME} at {min(footage.small.shape[-2:])} px",
    )
    if motion_px is not None:
        motion_pct = 100 * motion_px / footage.short_side_px
        fast = sum(v is not None and v > DYNAMIC_OF_SIDE * footage.short_side_px for v in top)
        scores.values.update(
            motion_pct=motion_pct,
            static_video=motion_pct < STATIC_PCT,
            dynamic=fast >= max(1, round(footage.count / 4)),
        )
    if missing := footage.covered.count(False):
        scores.notes.append(f"{missing} of {len(footage.covered)} pairs have no flow that can be trusted")
    scores.series.update(motion_px=mean, motion_top5_px=top, flow_coverage=[*footage.coverage])
    return scores


def _speeds(footage: "Footage") -> tuple[list[float | None], list[float | None]]:
    """Mean, and mean of the fastest 5 %, of each pair's flow where it holds (px a frame)."""
    mean, top = [], []
    for speed, mask, covered in zip(footage.speed_px, footage.masks[0], footage.covered, strict=True):
        speeds = speed[mask]
        # unsorted: a sixth of the time
        fastest = speeds.topk(min(len(speeds), max(1, int(TOP * len(speeds)))), sorted=False).values
        mean.append(float(speeds.mean()) if covered else None)
        top.append(float(fastest.mean()) if covered else None)
    return mean, top
