"""A denoising loop that asks the GPU nothing between two steps, and so launches the next while the last one runs.

diffusers asks twice a step whether guidance is on, and the answer is the maximum of a tensor on the device: the host
waits until all that it has launched is done, and the GPU then waits for the host."""

from typing import Any

import torch
from diffusers import StableVideoDiffusionPipeline

from svdsweep.config import Memory


class LaunchingAhead(StableVideoDiffusionPipeline):  # type: ignore[misc]
    """The pipeline, but it looks only once at each `guidance_scale`."""

    _looked_at: Any = None
    _guided = False

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether guidance is on at any frame."""
        if self._looked_at is not self.guidance_scale:
            self._guided = bool(super().do_classifier_free_guidance)
            self._looked_at = self.guidance_scale
        return self._guided


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Make `pipe` a `LaunchingAhead`."""
    pipe.__class__ = LaunchingAhead


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the pipeline still asks at every step, else None."""
    return None if isinstance(pipe, LaunchingAhead) else f"the pipeline is a {type(pipe).__name__}"
