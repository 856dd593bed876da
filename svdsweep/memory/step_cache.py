"""A step cache: the UNet is called at some of the steps; at the others its denoised latents are extrapolated."""

import functools
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from svdsweep.config import Job, Memory
from svdsweep.memory.contract import NoEffect, WholeCalls
from svdsweep.memory.per_run import called_at


@dataclass
class Cache:
    """The steps at which a run calls the UNet, and its last two calls: sigma and denoised latents (B, F, C, h, w)."""

    called: frozenset[int] = frozenset()
    calls: deque[tuple[float, Tensor]] = field(default_factory=lambda: deque(maxlen=2))

    def extrapolated(self, sigma: float) -> Tensor:
        """The denoised latents at `sigma`: on the line in sigma through the last two that were computed, or the last
        one alone."""
        latest_sigma, latest = self.calls[-1]
        if len(self.calls) == 1:
            return latest
        earlier_sigma, earlier = self.calls[0]
        return torch.lerp(earlier, latest, (sigma - earlier_sigma) / (latest_sigma - earlier_sigma))


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Wrap the UNet's forward, outside of a compiled graph and inside of offloading's hooks.

    The UNet takes latents x/q, where q² = sigma² + 1, and answers with a velocity v; the denoised latents are
    x/q² - v·sigma/q. They are kept in float32, for v at a small sigma is the difference of two near numbers.
    Raises NoEffect for a scheduler whose steps are not one call each."""
    from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionOutput

    if (kind := type(pipe.scheduler).__name__) != "EulerDiscreteScheduler":
        raise NoEffect(
            f"memory.step_cache took no effect: it knows the steps of Euler's scheduler, not {kind}'s."
        )
    cache, whole, forward, channels = Cache(), WholeCalls(), pipe.unet.forward, pipe.unet.config.out_channels

    @functools.wraps(forward)
    def sparing(sample: Tensor, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        step = pipe.scheduler.step_index
        sigma = float(pipe.scheduler.sigmas[step])
        q = math.sqrt(sigma**2 + 1)
        latents = sample[:, :, :channels].float() / q
        if step == 0:
            cache.calls.clear()
        if step in cache.called:
            whole.count += 1
            velocity = forward(sample, *args, return_dict=False, **kwargs)[0]
            cache.calls.append((sigma, latents - velocity.float() * (sigma / q)))
        else:
            velocity = ((latents - cache.extrapolated(sigma)) * (q / sigma)).to(sample.dtype)
        return UNetSpatioTemporalConditionOutput(sample=velocity) if return_dict else (velocity,)

    pipe.step_cache, pipe.whole_unet_calls, pipe.unet.forward = cache, whole, sparing


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why each step of the run called the UNet, else None."""
    cache = getattr(pipe, "step_cache", None)
    spared = cache and pipe.whole_unet_calls.count < pipe.scheduler.num_inference_steps
    return None if spared else "the UNet was called at every step"


def begin(pipe: Any, job: Job) -> None:
    """Tell a pipeline that keeps such a cache at which steps the run to come calls the UNet."""
    if cache := getattr(pipe, "step_cache", None):
        cache.called = called_at(job)
