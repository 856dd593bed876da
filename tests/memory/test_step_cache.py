"""A step cache calls the UNet as often as asked; where it holds what it had, it is Euler in fewer steps."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from svdsweep.config import Job, Memory
from svdsweep.memory.apply import check_after_run, prepare
from svdsweep.memory.contract import NoEffect
from svdsweep.memory.per_run import called_at, steps_of, unet_calls_of
from svdsweep.memory.step_cache import Cache, begin

CPU = torch.device("cpu")
JOB = Job(num_frames=2, height=32, width=32, num_inference_steps=6)


def cached(calls: int | None = 3, steps: int = 6, **knobs: Any) -> Job:
    memory = Memory(step_cache="linear", denoise_steps=calls, **knobs)
    return replace(JOB, memory=memory, num_inference_steps=steps)


def latents(pipe: Any, job: Job, **more: Any) -> torch.Tensor:
    begin(pipe, job)
    asked = {"num_frames": 2, "height": 32, "width": 32, "generator": torch.Generator().manual_seed(0)}
    asked |= {"num_inference_steps": steps_of(job), "output_type": "latent", "decode_chunk_size": 2}
    pipe.set_progress_bar_config(disable=True)
    picture = Image.linear_gradient("L").convert("RGB").resize((32, 32))
    made: torch.Tensor = pipe(picture, **asked | more).frames
    return made


@pytest.mark.parametrize(("steps", "calls"), [(25, 10), (25, 24), (25, 2), (6, None), (3, 2), (300, 7)])
def test_as_many_steps_as_asked_for_call_the_unet_the_first_and_the_last_among_them(
    steps: int, calls: int | None
) -> None:
    job = cached(calls, steps)
    called = called_at(job)
    assert len(called) == unet_calls_of(job) == (calls or steps // 2)
    assert {0, steps - 1} <= called <= set(range(steps))
    assert steps_of(job) == steps


@pytest.mark.parametrize(
    "knobs", [{}, {"split_guidance": True}, {"offload": "model"}, {"offload": "group_block"}]
)
def test_the_unet_runs_as_often_as_asked_and_nothing_of_a_run_is_left_to_the_next(
    pipe: Any, knobs: Any
) -> None:
    job, halves = cached(), 2 if "split_guidance" in knobs else 1
    seen: list[int] = []
    pipe.unet.mid_block.register_forward_hook(lambda *_: seen.append(1))
    prepare(pipe, Memory(step_cache="linear", **knobs), CPU)
    first = latents(pipe, job)
    assert (pipe.whole_unet_calls.count, len(seen)) == (3, 3 * halves)
    check_after_run(pipe, job.memory, CPU)
    assert torch.equal(first, latents(pipe, job))


def test_held_latents_are_eulers_fewer_steps(
    pipe: Any, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of which only the last call is kept, against plain Euler at the sigmas of the steps that were called."""
    job = cached()
    pipe.scheduler.set_timesteps(6)
    sigmas = [float(pipe.scheduler.sigmas[step]) for step in sorted(called_at(job))]
    fewer = latents(pipe, replace(JOB, num_inference_steps=3), sigmas=[*sigmas, 0.0])
    monkeypatch.setattr(Cache, "extrapolated", lambda cache, sigma: cache.calls[-1][1])
    held = latents(prepared(step_cache="linear"), job)
    assert (held - fewer).abs().max() < 1e-3 * fewer.abs().max()  # float32, over sigmas up to 700


def test_what_lies_on_a_line_in_sigma_is_extrapolated_exactly() -> None:
    cache = Cache()
    cache.calls.append((8.0, torch.tensor([8.0, -16.0])))
    assert cache.extrapolated(2.0).tolist() == [8.0, -16.0]  # of one call nothing but itself is known
    cache.calls.append((4.0, torch.tensor([4.0, -8.0])))
    assert cache.extrapolated(2.0).tolist() == [2.0, -4.0]


def test_a_cache_that_spared_nothing_is_refused(pipe: Any) -> None:
    job = cached()
    prepare(pipe, job.memory, CPU)
    latents(pipe, job)
    pipe.whole_unet_calls.count = 6
    with pytest.raises(NoEffect, match="called at every step"):
        check_after_run(pipe, job.memory, CPU)


def test_a_scheduler_with_other_steps_is_refused(pipe: Any) -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    pipe.scheduler = EulerAncestralDiscreteScheduler()
    with pytest.raises(NoEffect, match="not EulerAncestralDiscreteScheduler's"):
        prepare(pipe, Memory(step_cache="linear"), CPU)
