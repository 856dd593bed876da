"""Knobs that are arguments of a run: guidance off, fewer steps, another schedule of noise levels."""

from typing import Any

import numpy as np

from svdsweep.config import Job


def steps_of(job: Job) -> int:
    """Denoising steps that the job runs, under its strategy."""
    return job.memory.denoise_steps or job.num_inference_steps


def guidance_of(job: Job) -> tuple[float, float]:
    """The guidance scales at the first and the last frame; up to 1 there is no guidance."""
    if not job.memory.guidance:
        return min(job.min_guidance_scale, 1.0), 1.0
    return job.min_guidance_scale, job.max_guidance_scale


def is_guided(job: Job) -> bool:
    """Whether the UNet runs for the unconditional half too."""
    return guidance_of(job)[1] > 1


def sigmas_of(job: Job, sigma_min: float) -> list[float] | None:
    """Noise levels for the scheduler, the last one 0; None for the model's own schedule.

    Align Your Steps (Sabour et al. 2024) publishes 10 steps for SVD; for another number they are interpolated linearly
    in the logarithm, as its authors do, down to the model's `sigma_min`."""
    if job.memory.sigmas == "model":
        return None
    from diffusers.schedulers import AysSchedules

    published = [*AysSchedules["StableDiffusionVideoSigmas"][:-1], sigma_min]
    steps = steps_of(job)
    if steps == len(published) - 1:
        return [*published[:-1], 0.0]
    places = np.linspace(0, len(published) - 1, steps, endpoint=False)
    return [*np.exp(np.interp(places, range(len(published)), np.log(published))).tolist(), 0.0]


def arguments(job: Job, sigma_min: float) -> dict[str, Any]:
    """Keyword arguments of the pipeline's call that the job decides, without image, generator, decode and callbacks."""
    low, high = guidance_of(job)
    sigmas = sigmas_of(job, sigma_min)
    return {
        "height": job.height,
        "width": job.width,
        "num_frames": job.num_frames,
        "num_inference_steps": steps_of(job),
        "min_guidance_scale": low,
        "max_guidance_scale": high,
        "fps": job.fps,
        "motion_bucket_id": job.motion_bucket_id,
        "noise_aug_strength": job.noise_aug_strength,
        **({"sigmas": sigmas} if sigmas else {}),
    }
