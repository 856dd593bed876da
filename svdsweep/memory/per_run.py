"""Knobs that are arguments of a run: guidance off, fewer steps, another schedule of noise levels; and what follows."""

from typing import Any

from svdsweep.config import Job
from svdsweep.config.schedulers import TWO_CALLS
from svdsweep.memory.sigmas import SIGMA_MAX, SIGMA_MIN, consistency, levels

LATE = 0.6
"""The power by which calls of a step cache gather at late steps, where the denoised latents change; by trial on the
embedded model (README.md)."""


def steps_of(job: Job) -> int:
    """Denoising steps that the job runs, under its strategy; a list of noise levels says how many."""
    if isinstance(schedule := schedule_of(job), tuple):
        return len(schedule) - 1
    return (
        job.num_inference_steps if caches_steps(job) else job.memory.denoise_steps or job.num_inference_steps
    )


def caches_steps(job: Job) -> bool:
    """Whether the UNet is left out at some steps."""
    return job.memory.step_cache != "none"


def called_at(job: Job) -> frozenset[int]:
    """The steps at which the UNet is called, from 0: the first and the last, and of those between the more the later
    they are (`LATE`)."""
    steps, calls = steps_of(job), unet_calls_of(job)
    if calls == 1:
        return frozenset({0})
    places = [round((steps - 1) * (i / (calls - 1)) ** LATE) for i in range(calls)]
    for i in range(calls - 2, -1, -1):  # of two calls in one step the earlier goes before it
        places[i] = min(places[i], places[i + 1] - 1)
    return frozenset(places)


def guidance_of(job: Job) -> tuple[float, float]:
    """The guidance scales at the first and the last frame; up to 1 there is no guidance."""
    if not job.memory.guidance:
        return min(job.min_guidance_scale, 1.0), 1.0
    return job.min_guidance_scale, job.max_guidance_scale


def is_guided(job: Job) -> bool:
    """Whether the UNet runs for the unconditional half too."""
    return guidance_of(job)[1] > 1


def turns_of(job: Job) -> int:
    """How often the denoising loop goes round: twice a step, but once in the last, for schedulers of two calls."""
    steps = steps_of(job)
    return 2 * steps - 1 if job.model.scheduler in TWO_CALLS else steps


def unet_calls_of(job: Job) -> int:
    """Calls of the UNet in a run; those for both halves of guidance count as one. A step cache makes those asked for,
    or half as many as there are steps."""
    return job.memory.denoise_steps or -(-steps_of(job) // 2) if caches_steps(job) else turns_of(job)


def different_turns(job: Job) -> dict[int, int]:
    """Turns of the loop that differ from one another, and how often each of them occurs: hooks that prefetch learn from
    the first, DeepCache's cache is empty in it, and a step cache leaves the UNet out in some turns. (What
    single_token_cross_attention keeps, and what a scheduler computes between two calls, weighs next to nothing.)"""
    steps = turns_of(job)
    times = {0: steps}
    if interval := job.memory.deepcache_interval:
        whole = -(-steps // interval)
        times = {0: 1, 1: steps - whole, interval: whole - 1}
    elif caches_steps(job):
        called = sorted(called_at(job))
        spared = set(range(steps)) - set(called)
        times = {0: 1, called[-1]: len(called) - 1, max(spared): len(spared)}
    elif job.memory.offload_stream:
        times = {0: 1, 1: steps - 1}
    return {step: n for step, n in times.items() if n}


def schedule_of(job: Job) -> str | tuple[float, ...]:
    """The noise levels asked for: the strategy's where it names any, else the model's."""
    own: str | tuple[float, ...] = job.model.sigmas
    return own if job.memory.sigmas == "model" else job.memory.sigmas


def sigmas_of(job: Job, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX) -> list[float] | None:
    """Noise levels for the scheduler, falling, the last one where the last step ends; None for the model's own."""
    schedule, final, ends = schedule_of(job), job.model.final_sigma, (sigma_min, sigma_max)
    if isinstance(schedule, tuple):
        return list(schedule)
    if schedule == "model" and job.model.scheduler == "animatelcm":
        return consistency(steps_of(job), final, *ends)
    if schedule == "model" and final == 0:
        return None
    return levels("karras" if schedule == "model" else schedule, steps_of(job), final, *ends)


def arguments(job: Job, sigma_min: float, sigma_max: float = SIGMA_MAX) -> dict[str, Any]:
    """Keyword arguments of the pipeline's call that the job decides, without image, generator, decode and callbacks."""
    low, high = guidance_of(job)
    sigmas = sigmas_of(job, sigma_min, sigma_max)
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
