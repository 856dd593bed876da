"""How near the frames stay to the conditioning image, and whether colour and sharpness drift away over time."""

import math
import statistics
from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context, drift, psnr_db
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

SHARPNESS_FLOOR = 1e-3
LAB_SIDE_PX = 144
"""Colour drift is a mean over the picture, for which a grid of this many points to the shorter side is enough."""

COMPARED_WITH = "image"
COLUMNS = (
    Column("first_psnr_db", "dB", better="higher", low=0, high=100, headline=3,
           help="PSNR of the first frame and the conditioning image.",
           blind_to="The VAE and noise_aug_strength limit it; 100 is never reached."),
    Column("first_ssim", "", better="higher", low=-1, high=1,
           help="Structural similarity of the first frame and the conditioning image.",
           blind_to="As first_psnr_db."),
    Column("image_psnr_drift_db", "dB", low=-100, high=100,
           help="PSNR to the conditioning image over the last fifth of the frames, less that of the first frame.",
           blind_to="A clean pan leaves the image as surely as a picture that falls apart."),
    Column("image_ssim_drift", "", low=-2, high=2,
           help="SSIM to the conditioning image over the last fifth of the frames, less that of the first frame.",
           blind_to="As image_psnr_drift_db; a slow change into another picture keeps more than a pan."),
    Column("sharpness_mean", "levels²", low=0, headline=1,
           help="Variance of the Laplacian of luma, mean over the frames.",
           blind_to="Noise raises it as detail does: read with mc_flicker_255. Depends on the picture's content "
                    "and size."),
    Column("sharpness_drift_db", "dB",
           help="Sharpness of the last fifth of the frames over that of the first fifth; 0 is best, below 0 it "
                "blurs.",
           blind_to="Detail that moves into or out of the picture."),
    Column("color_drift_de", "ΔE", better="lower", low=0,
           help="Sum over time of the mean change of CIE Lab between a frame and its successor laid over it by "
                "optical flow.",
           blind_to="A change that comes back; pairs that the flow does not cover."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; what compares with the image is None without one. Series with a value a frame: image_psnr_db,
    image_ssim, sharpness."""
    scores = Measurements(values={column.name: None for column in COLUMNS})
    sharpness = [*footage.levels.sharpness]
    scores.values["sharpness_mean"] = statistics.fmean(sharpness)
    scores.series["sharpness"] = sharpness
    if footage.count > 1:
        fifth = max(1, footage.count // 5)
        first, last = statistics.fmean(sharpness[:fifth]), statistics.fmean(sharpness[-fifth:])
        ratio = (last + SHARPNESS_FLOOR) / (first + SHARPNESS_FLOOR)
        scores.values["sharpness_drift_db"] = 10 * math.log10(ratio)
        scores.values["color_drift_de"] = _color_drift_de(footage)
    if context.image is None:
        scores.notes.append("no conditioning image: likeness to it is empty")
        return scores
    to_image = footage.likeness(COMPARED_WITH, context.image[None])
    psnr, ssim = [psnr_db(mse) for mse in to_image.mse], to_image.ssim
    scores.values.update(first_psnr_db=psnr[0], first_ssim=ssim[0])
    scores.values.update(image_psnr_drift_db=drift(psnr), image_ssim_drift=drift(ssim))
    scores.series.update(image_psnr_db=psnr, image_ssim=ssim)
    return scores


def _color_drift_de(footage: "Footage") -> float | None:
    """ΔE of the summed changes; None when no pair's flow covers enough. Comparing mean colours instead would mistake a
    pan for a drift."""
    import torch

    from svdsweep.metrics.shared.likeness import lab

    step = max(1, min(footage.small.shape[-2:]) // LAB_SIDE_PX)
    total = torch.zeros(3, device=footage.device)
    pairs = [t for t, covered in enumerate(footage.covered) if covered]
    for t in pairs:
        ahead, here = footage.warps[0][t], footage.small[t]
        colours = lab(torch.stack([ahead, here])[..., ::step, ::step])
        mask = footage.masks[0][t, ::step, ::step]
        total += ((colours[0] - colours[1]) * mask).sum((1, 2)) / mask.sum().clamp_min(1)
    return float(total.norm()) if pairs else None
