"""What cannot work of schedulers, noise levels and step caches. No torch here."""

from collections.abc import Iterator

from svdsweep.config import Job
from svdsweep.config.rules import typed
from svdsweep.config.schedulers import CONSISTENCY_LEVELS, TWO_CALLS
from svdsweep.memory.per_run import schedule_of, sigmas_of, steps_of, unet_calls_of


def noise(job: Job, device_kind: str) -> Iterator[str]:
    """What is wrong with a job's scheduler and noise levels."""
    m, model = job.memory, job.model
    schedule, steps = schedule_of(job), steps_of(job)
    if isinstance(schedule, tuple):
        yield from _listed(job)
    if m.sigmas == model.sigmas != "model":
        yield f"sigmas={typed(m.sigmas)} changes nothing: model.sigmas is that already."
    if model.scheduler == "animatelcm" and schedule == "model" and steps > CONSISTENCY_LEVELS:
        yield (
            f"model.scheduler=animatelcm with {steps} steps: its weights were distilled at {CONSISTENCY_LEVELS} noise "
            "levels, and it has no more steps."
        )
    elif (levels := sigmas_of(job)) and levels[-1] >= levels[-2]:
        yield (
            f"model.final_sigma={model.final_sigma:g} is not below {levels[-2]:.3g}, the noise level at which the last "
            "of these steps begins."
        )
    if m.deepcache_interval and model.scheduler in TWO_CALLS:
        yield (
            f"deepcache_interval with model.scheduler={model.scheduler}: DeepCache knows a step by its timestep, and "
            "this scheduler calls the UNet twice a step."
        )


def _listed(job: Job) -> Iterator[str]:
    """What a list of noise levels says itself."""
    part = "model" if job.memory.sigmas == "model" else "memory"
    told, final = f"{part}.sigmas={typed(schedule_of(job))}", job.model.final_sigma
    if job.memory.denoise_steps and job.memory.step_cache == "none":
        steps = steps_of(job)
        yield f"denoise_steps={job.memory.denoise_steps} changes nothing: {told} is a list of {steps} steps."
    if final:
        yield f"model.final_sigma={final:g} changes nothing: {told} ends with a level of its own."


def step_cache(job: Job) -> Iterator[str]:
    """What is wrong with a job's step cache."""
    m, calls = job.memory, unet_calls_of(job)
    if m.step_cache == "none":
        return
    if calls >= steps_of(job):
        yield (
            f"step_cache={m.step_cache} spares nothing: denoise_steps={calls} calls of the UNet are "
            f"the run's {steps_of(job)} steps or more; ask for fewer."
        )
    if calls < 2:
        yield f"step_cache={m.step_cache} needs at least 2 calls of the UNet, the first and the last; this is {calls}."
    if m.deepcache_interval:
        yield "step_cache with deepcache_interval: DeepCache counts steps by the calls that it sees; choose one."
    if job.model.scheduler != "euler":
        yield f"step_cache with model.scheduler={job.model.scheduler}: it extrapolates between Euler's steps only."
