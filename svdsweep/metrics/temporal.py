"""How much neighbouring frames differ, plainly and with the motion taken out."""

import statistics
from itertools import pairwise
from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context, masked_mean, mean_known, psnr_db
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

DUPLICATE_255 = 0.1
"""Neighbours that differ by less than this many levels are the same frame twice."""

COMPARED_WITH = "before"
COLUMNS = (
    Column("mc_flicker_255", "levels of 255", better="lower", low=0, high=255, headline=3,
           help="Mean difference of a frame from the mean of its two neighbours laid over it by optical flow. The "
                "headline.",
           blind_to="Blur improves it (read with sharpness_drift_db); real motion that is not rigid raises it, so "
                    "compare clips of like motion_px, best paired by image and seed; slow changes of colour or "
                    "shape; grain finer than the clip reduced to 288 px shows at a third."),
    Column("warp_mse", "of range²", better="lower", low=0, high=1,
           help="Mean squared difference of a frame and its successor laid over it by optical flow (E_warp).",
           blind_to="What the flow does not cover (flow_coverage); blur improves it."),
    Column("warp_psnr_db", "dB", better="higher", low=0, high=100, headline=1,
           help="warp_mse as PSNR; 100 when equal.",
           blind_to="As warp_mse."),
    Column("luma_flicker_255", "levels of 255", better="lower", low=0, high=255, headline=1,
           help="Mean size of ½ (L₋₁ − 2 L₀ + L₊₁) of the mean luma: exact for a flicker of the whole picture.",
           blind_to="Flicker that leaves the mean brightness alone; jitter of the camera adds 0.1–0.4."),
    Column("adj_mae_255", "levels of 255", low=0, high=255,
           help="Mean difference of neighbouring frames (VBench's temporal flickering is 1 − this / 255).",
           blind_to="Motion and flicker are one to it: a clean pan is worse than a strobe, a black clip is "
                    "perfect."),
    Column("adj_psnr_db", "dB", low=0, high=100, headline=2,
           help="PSNR of neighbouring frames from the mean of their squared differences; 100 when equal.",
           blind_to="As adj_mae_255."),
    Column("adj_ssim", "", low=-1, high=1, headline=2,
           help="Structural similarity of neighbouring frames (Gaussian window, colours apart).",
           blind_to="As adj_mae_255."),
    Column("flow_accel_px", "px/frame²", better="lower", low=0, headline=1,
           help="Mean change of the optical flow from pair to pair: judder and jitter.",
           blind_to="Flicker; a repeated rhythm longer than two pairs."),
    Column("dup_frac", "of the pairs", better="lower", low=0, high=1,
           help=f"Share of neighbours that differ by less than {DUPLICATE_255} levels: frozen or repeated frames.",
           blind_to="Whether standing still was asked for."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; None for whatever needs more frames than there are. Series with a value a pair or a triple."""
    scores = Measurements(values={column.name: None for column in COLUMNS})
    if footage.count < 2:
        scores.notes.append("one frame: there is nothing between frames to measure")
        return scores
    warp_mse = mean_known(footage.warp_mse)
    flicker, acceleration = _compensated(footage), _acceleration(footage)
    before = footage.likeness(COMPARED_WITH)  # last of all: it may be computed beside the flow
    scores.values.update(
        adj_mae_255=statistics.fmean(footage.changes),
        adj_psnr_db=psnr_db(statistics.fmean(before.mse)),
        adj_ssim=mean_known(before.ssim),
        dup_frac=statistics.fmean(change < DUPLICATE_255 for change in footage.changes),
        warp_mse=warp_mse,
        warp_psnr_db=None if warp_mse is None else psnr_db(warp_mse),
        mc_flicker_255=mean_known(flicker),
        luma_flicker_255=mean_known(_luma_flicker(footage)),
        flow_accel_px=mean_known(acceleration),
    )
    scores.series.update(
        adj_mae_255=[*footage.changes],
        adj_ssim=before.ssim,
        warp_mse=footage.warp_mse,
        mc_flicker_255=flicker,
        flow_accel_px=acceleration,
    )
    if footage.count < 3:
        scores.notes.append("two frames: flicker and acceleration need three")
    if not any(footage.covered):
        scores.notes.append("no pair has a flow that can be trusted: motion-compensated columns are empty")
    return scores


def _luma_flicker(footage: "Footage") -> list[float | None]:
    level = footage.levels.mean
    return [abs(0.5 * (a - 2 * b + c)) for a, b, c in zip(level, level[1:], level[2:], strict=False)]


def _compensated(footage: "Footage") -> list[float | None]:
    """The flicker of each frame but the first and last, motion taken out; None beside a pair without trusted flow."""
    ahead, behind = footage.warps
    seen_ahead, seen_behind = footage.masks

    def flicker(t: int) -> float:
        expected = 0.5 * (behind[t - 1] + ahead[t])
        both = seen_behind[t - 1] & seen_ahead[t]
        return 255 * masked_mean((footage.small[t] - expected).abs(), both)

    return [flicker(t) if all(covered) else None for t, covered in enumerate(pairwise(footage.covered), 1)]


def _acceleration(footage: "Footage") -> list[float | None]:
    """Mean change of the flow between following pairs where both hold, in full-size pixels."""
    there, mask = footage.flows[0], footage.masks[0]

    def change(t: int) -> float:
        change_px = (there[t + 1] - there[t]) * footage.px_per_small_px
        return masked_mean(change_px.square().sum(0, keepdim=True).sqrt(), mask[t] & mask[t + 1])

    return [change(t) if all(covered) else None for t, covered in enumerate(pairwise(footage.covered))]
