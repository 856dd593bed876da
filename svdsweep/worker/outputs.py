"""What is made of a run's frames, after all timing: the video, the contact sheet, the metrics, the comparison."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from svdsweep.config import Job
from svdsweep.metrics import Context, score
from svdsweep.metrics.baseline import COLUMNS
from svdsweep.probes.environment import device_name
from svdsweep.store.defects import HALF_PRECISION, defect
from svdsweep.store.measurements import Measurements
from svdsweep.worker.baseline import FAMILY, Kept, against_baseline, baseline_of
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
    """The columns of a run; beside its metrics, its video and contact sheet are written to the sweep's `folder`.

    A broken video is compared with no baseline, and is none. Calls `enter` with each phase of `JUDGING` as it comes to
    it. Raises OSError when the disk is full, FfmpegFailed, UserError for an unknown metric, NotFinite."""
    job, output = made.job, made.output
    frames = to_uint8(output.frames)
    nonfinite = sum(frame.size - int(np.isfinite(frame).sum()) for frame in output.frames)
    if nonfinite == np.size(output.frames):
        raise NotFinite(f"Every value of the frames is NaN or infinite. {HALF_PRECISION}")
    sha256 = hashlib.sha256(frames.data).hexdigest()
    columns = Measurements({"nonfinite_values": nonfinite, "frames_sha256": sha256})
    video, sheet = f"videos/{job.key}.mp4", f"sheets/{job.key}.png"
    enter("metrics")
    with ThreadPoolExecutor(1) as beside:  # ffmpeg and Pillow let this thread compute
        writing = beside.submit(
            _write, folder / video, folder / sheet, frames, job.fps, torch.get_num_threads()
        )
        columns.add(_metrics(made, folder, frames, nonfinite))
        enter("write")
        writing.result()
    columns.values |= {"video": video, "contact_sheet": sheet}
    return columns


def _write(video: Path, sheet: Path, frames: Frames, fps: int, cores: int) -> None:
    write_video(video, frames, fps, cores)
    write_contact_sheet(sheet, frames)


def _metrics(made: Made, folder: Path, frames: Frames, nonfinite: int) -> Measurements:
    """The metrics of a run, and its comparison with its baseline."""
    job, pipe = made.job, made.pipe
    on = str(made.device) if pipe else "cpu"
    baseline = baseline_of(folder, job)
    context = Context(
        image=np.asarray(made.picture, dtype=np.uint8),
        decode_chunk_size=made.chunk,
        fps=job.fps,
        weights_dir=Path(job.metrics.weights_dir) if job.metrics.weights_dir else None,
        device=on,
        image_encoder=pipe and pipe.image_encoder,
        feature_extractor=pipe and pipe.feature_extractor,
        reference=baseline.frames if baseline and baseline.frames.shape == frames.shape else None,
        nonfinite_values=nonfinite,
    )
    families = [ALWAYS, *(name for name in job.metrics.families if name != ALWAYS)]
    if FAMILY not in families:
        families.append(FAMILY)  # the comparison with the baseline needs it, and together all takes less time
    columns = score(frames, context, families)
    alike = columns.part_of([column.name for column in COLUMNS])
    if pipe:
        pipe.maybe_free_model_hooks()  # the image encoder may have come to the device for a metric
    latents, device = made.output.latents.float().numpy(), device_name(made.device)
    kept = Kept(frames, latents, made.chunk, device, made.noise_floor_db)
    if not defect(job, columns.values):
        columns.add(against_baseline(folder, job, kept, baseline, alike))
    return columns


def to_uint8(frames: "np.ndarray[Any, np.dtype[np.float32]]") -> Frames:
    """Frames in 0–1 as 0–255, rounded as diffusers does for pictures; what is not a number becomes black."""
    levels: Frames = np.empty(frames.shape, np.uint8)
    for frame, into in zip(frames, levels, strict=True):  # one at a time and in place: a sixth of the time
        values = np.fmax(frame, 0)  # of a number and what is none, the number
        np.fmin(values, 1, out=values)
        values *= 255
        into[:] = np.rint(values, out=values)
    return levels
