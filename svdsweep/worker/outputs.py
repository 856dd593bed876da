"""What is made of a run's frames, after all timing: the video, the contact sheet, the metrics, the comparison."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from svdsweep.config import Job
from svdsweep.metrics import Context, score
from svdsweep.probes.environment import device_name
from svdsweep.store.defects import HALF_PRECISION, defect
from svdsweep.store.measurements import Measurements
from svdsweep.worker.baseline import Kept, against_baseline, baseline_of
from svdsweep.worker.measuring import Output
from svdsweep.worker.media import Frames, write_contact_sheet, write_video

JUDGING = ("metrics", "write")
"""The phases of a job that lie behind its measurement."""
ALWAYS = "defects"
"""The family that every job is judged by: a broken video is told apart also where no metric was asked for."""


class NotFinite(RuntimeError):
    """Raised when a run made no picture at all: every value of its frames is NaN or infinite."""


@dataclass(frozen=True)
class Made:
    """What a run has made, and what its judge needs of the `pipe`, which beside the next job is none: that one may need
    another, and the device's memory is its own."""

    job: Job
    picture: Any
    chunk: int
    output: Output
    noise_floor_db: float | None
    device: torch.device
    pipe: Any | None


def judge(made: Made, folder: Path, enter: Callable[[str], None]) -> Measurements:
    """The columns of a run; its video and contact sheet are written to the sweep's `folder`.

    A broken video is compared with no baseline, and is none. Calls `enter` with each phase of `JUDGING` as it comes to
    it. Raises OSError when the disk is full, FfmpegFailed, UserError for an unknown metric, NotFinite."""
    job, pipe, output = made.job, made.pipe, made.output
    on = str(made.device) if pipe else "cpu"
    frames = to_uint8(output.frames)
    nonfinite = int(np.size(output.frames) - np.isfinite(output.frames).sum())
    if nonfinite == np.size(output.frames):
        raise NotFinite(f"Every value of the frames is NaN or infinite. {HALF_PRECISION}")
    sha256 = hashlib.sha256(frames.tobytes()).hexdigest()
    columns = Measurements({"nonfinite_values": nonfinite, "frames_sha256": sha256})
    enter("metrics")
    baseline = baseline_of(folder, job)
    context = Context(
        image=np.asarray(made.picture, dtype=np.uint8),
        decode_chunk_size=made.chunk,
        weights_dir=Path(job.metrics.weights_dir) if job.metrics.weights_dir else None,
        device=on,
        image_encoder=pipe and pipe.image_encoder,
        feature_extractor=pipe and pipe.feature_extractor,
        reference=baseline.frames if baseline else None,
        nonfinite_values=nonfinite,
    )
    # the family `baseline` is left to `against_baseline`, which every job needs and some only after the sweep
    families = [name for name in job.metrics.families if name not in ("baseline", ALWAYS)]
    columns.add(score(frames, context, [ALWAYS, *families]))
    if pipe:
        pipe.maybe_free_model_hooks()  # the image encoder may have come to the device for a metric
    latents, device = output.latents.float().numpy(), device_name(made.device)
    kept = Kept(frames, latents, made.chunk, device, made.noise_floor_db)
    if not defect(job, columns.values):
        columns.add(against_baseline(folder, job, kept, baseline, on))
    enter("write")
    video, sheet = f"videos/{job.key}.mp4", f"sheets/{job.key}.png"
    write_video(folder / video, frames, job.fps)
    write_contact_sheet(folder / sheet, frames)
    columns.values |= {"video": video, "contact_sheet": sheet}
    return columns


def to_uint8(frames: "np.ndarray[Any, np.dtype[np.float32]]") -> Frames:
    """Frames in 0–1 as 0–255, rounded as diffusers does for pictures; what is not a number becomes black."""
    levels: Frames = (np.nan_to_num(frames).clip(0, 1) * 255).round().astype(np.uint8)
    return levels
