"""What a viewer would see of the difference from the baseline's video (ColorVideoVDP; Mantiuk et al. 2024), whose
package holds its calibration."""

from typing import TYPE_CHECKING

from svdsweep.metrics.contract import Context
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

DISPLAY = "standard_4k"
"""The package's usual display: 30 inches, 3840×2160, seen from 0.75 m (two heights), 200 cd/m² in an office of 250 lux;
the video is shown on it pixel for pixel, 75 pixels a degree."""
GPU_MEMORY_GB = 4
"""What it may take of a GPU beside the pipeline."""

COLUMNS = (
    Column("cvvdp_to_baseline_jod", "JOD", better="higher", high=10, headline=2,
           help="ColorVideoVDP: quality beside the baseline's video, pixel for pixel on a 30-inch 4K monitor at "
                "0.75 m; 10 is no visible difference, and one less is noticed by three of four viewers.",
           blind_to="Whether a difference is a worse picture or only another one; where that is gross it says "
                    "little (below 5, also below 0)."),
    Column("cvvdp_status", "", help="`ok`, or why there is no number."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; without a baseline of as many frames, and a frame rate, there is a status only. Raises
    ImportError without the package."""
    if context.reference is None or len(context.reference) != footage.count:
        return _without("there is no baseline with as many frames")
    if context.fps is None:
        return _without("the frame rate is not known")
    import pycvvdp
    import torch

    metric = pycvvdp.cvvdp(DISPLAY, device=footage.device, quiet=True, gpu_mem=GPU_MEMORY_GB)
    mine, reference = (torch.from_numpy(frames.copy()) for frames in (footage.frames, context.reference))
    jod, _ = metric.predict(mine, reference, dim_order="FHWC", frames_per_second=context.fps)
    return Measurements(values={"cvvdp_to_baseline_jod": float(jod), "cvvdp_status": "ok"})


def _without(why: str) -> Measurements:
    return Measurements(values={"cvvdp_to_baseline_jod": None, "cvvdp_status": f"unavailable: {why}"})
