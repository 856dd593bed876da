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
from svdsweep.store.measurements import Measurements
from svdsweep.worker.baseline import Kept, against_baseline, baseline_path, read_kept
from svdsweep.worker.measuring import Output
from svdsweep.worker.media import Frames, write_contact_sheet, write_video

JUDGING = ("metrics", "write")
"""The phases of a job that lie behind its measurement."""


@dataclass(frozen=True)
class Judge:
    """Where to write, and what the metrics may use: `device` and the pipeline's own networks."""

    folder: Path
    device: torch.device
    pipe: Any

    def __call__(
        self,
        job: Job,
        picture: Any,
        output: Output,
        decode_chunk_size: int,
        noise_floor_db: float | None,
        enter: Callable[[str], None],
    ) -> Measurements:
        """The columns of a run. Calls `enter` with each phase of `JUDGING` as it comes to it. Raises OSError when
        the disk is full, UserError for an unknown metric."""
        frames = to_uint8(output.frames)
        columns = Measurements()
        nonfinite = int(np.size(output.frames) - np.isfinite(output.frames).sum())
        columns.values["nonfinite_values"] = nonfinite
        columns.values["frames_sha256"] = hashlib.sha256(frames.tobytes()).hexdigest()
        enter("metrics")
        columns.add(self._metrics(job, picture, frames, decode_chunk_size, nonfinite))
        latents = output.latents.float().numpy()
        kept = Kept(frames, latents, decode_chunk_size, device_name(self.device), noise_floor_db)
        enter("write")
        columns.add(against_baseline(self.folder, job, kept))
        video, sheet = f"videos/{job.key}.mp4", f"sheets/{job.key}.png"
        write_video(self.folder / video, frames, job.fps)
        write_contact_sheet(self.folder / sheet, frames)
        columns.values |= {"video": video, "contact_sheet": sheet}
        return columns

    def _metrics(
        self, job: Job, picture: Any, frames: Frames, decode_chunk_size: int, nonfinite: int
    ) -> Measurements:
        reference = None
        if job.baseline not in ("", job.key):
            baseline = read_kept(baseline_path(self.folder, job.baseline))
            reference = baseline.frames if baseline else None
        context = Context(
            image=np.asarray(picture, dtype=np.uint8),
            decode_chunk_size=decode_chunk_size,
            weights_dir=Path(job.metrics.weights_dir) if job.metrics.weights_dir else None,
            device=str(self.device),
            image_encoder=self.pipe.image_encoder,
            feature_extractor=self.pipe.feature_extractor,
            reference=reference,
            nonfinite_values=nonfinite,
        )
        scores = score(frames, context, job.metrics.families)
        self.pipe.maybe_free_model_hooks()  # the image encoder may have come to the device for a metric
        return Measurements(dict(scores.values), dict(scores.series), list(scores.notes))


def to_uint8(frames: "np.ndarray[Any, np.dtype[np.float32]]") -> Frames:
    """Frames in 0–1 as 0–255, rounded as diffusers does for pictures; what is not a number becomes black."""
    levels: Frames = (np.nan_to_num(frames).clip(0, 1) * 255).round().astype(np.uint8)
    return levels
