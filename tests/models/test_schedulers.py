"""Schedulers: each comes to the truth through SVD's noise levels, by its seed alone, and leaves the pipeline's own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pipelines import copied

from svdsweep.config import Job, Model
from svdsweep.config.schedulers import SCHEDULERS
from svdsweep.errors import UserError
from svdsweep.images import open_image
from svdsweep.memory.per_run import turns_of, unet_calls_of
from svdsweep.models.schedulers import MADE, scheduled
from svdsweep.worker.measuring import Output, Setup, run_once

CPU = torch.device("cpu")
LEVELS = (700.0, 50.0, 5.0, 0.5, 0.0)
JOB = Job(num_frames=2, height=32, width=32, num_inference_steps=3, max_guidance_scale=1.0)


def job_of(scheduler: str, steps: int = 3, **model: Any) -> Job:
    return replace(JOB, model=Model(scheduler=scheduler, **model), num_inference_steps=steps)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return copied(Model(), CPU)


def ran(pipe: Any, job: Job) -> Output:
    picture = open_image(replace(job.image, path="sprite_right.png"), job.height, job.width)
    return run_once(Setup(pipe, job, picture, job.num_frames, CPU), lambda *_: None)


def denoised(
    scheduler: Any, truth: torch.Tensor, levels: tuple[float, ...]
) -> tuple[torch.Tensor, list[float]]:
    """What a UNet that always knows the truth is led to, and the noise levels at which it was asked."""
    noise = torch.Generator().manual_seed(0)
    scheduler.noise = noise
    scheduler.set_timesteps(sigmas=list(levels), device="cpu")
    x, asked = torch.randn(truth.shape, generator=noise) * scheduler.init_noise_sigma, []
    for t in scheduler.timesteps:
        sigma = (4 * t).exp()  # the UNet is told 0.25·log sigma, and shown x / sqrt(sigma² + 1)
        asked.append(float(sigma))
        noisy = scheduler.scale_model_input(x, t) * (sigma**2 + 1).sqrt()
        v = (noisy / (sigma**2 + 1) - truth) * (sigma**2 + 1).sqrt() / sigma
        x = scheduler.step(v, t, x).prev_sample
    return x, asked


@pytest.mark.parametrize("name", MADE)
def test_a_unet_that_knows_the_truth_is_led_to_it_at_the_levels_asked_for(name: str) -> None:
    kind, config = MADE[name]
    truth = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    found, asked = denoised(kind(**config), truth, LEVELS)
    assert torch.allclose(found, truth, atol=1e-5), "float32 at the last level, 0.5"
    assert len(asked) == turns_of(job_of(name, 4))
    assert set(LEVELS[:-1]) <= {round(level, 2) for level in asked}, "25 bits of a logarithm"
    found, _ = denoised(kind(**config), truth, (700.0, 0.0))
    assert torch.allclose(found, truth, atol=2e-3), "float32 at level 700"


@pytest.mark.parametrize("name", sorted(set(MADE) - {"euler_ancestral", "dpmpp_2m_sde", "animatelcm"}))
def test_above_0_the_last_level_is_what_is_left_of_the_first_noise(name: str) -> None:
    kind, config = MADE[name]
    truth = torch.zeros(1, 2, 4, 4, 4)
    found, _ = denoised(kind(**config), truth, (700.0, 5.0, 0.5))
    first = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found, 0.5 * first, atol=1e-3)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_tiny_model_denoises_by_its_seed_alone_and_its_unet_is_called_as_foretold(
    pipe: Any, name: str
) -> None:
    own, job = pipe.scheduler, job_of(name, 2)
    once, again = ran(pipe, job), ran(pipe, job)
    assert torch.equal(once.latents, again.latents)
    assert once.timing.calls["unet"] == unet_calls_of(job) == (3 if name in ("heun", "dpm2") else 2)
    assert len(once.timing.step_s) == 2
    assert sum(once.timing.step_s) == pytest.approx(once.timing.stage_s["denoise"], rel=1e-6)
    assert pipe.scheduler is own


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULERS)
def test_more_steps_come_nearer_to_eulers_full_run_and_other_noise_to_another_video_like_it(
    pipe: Any, name: str
) -> None:
    sized = replace(JOB, num_frames=4, height=64, width=64)
    full = ran(pipe, replace(sized, num_inference_steps=100)).latents
    apart = [
        float(
            (ran(pipe, replace(job_of(name, n), num_frames=4, height=64, width=64)).latents - full).std()
            / full.std()
        )
        for n in (8, 24)
    ]
    if name in ("euler_ancestral", "dpmpp_2m_sde", "animatelcm"):
        assert max(apart) < 0.6, "0.28–0.40 measured; latents of nothing alike are 1.4 apart"
    else:
        assert apart[1] < min(0.06, apart[0]), "0.01–0.03 measured"


def test_edm_euler_is_euler_up_to_rounding(pipe: Any) -> None:
    assert torch.allclose(ran(pipe, job_of("edm_euler")).latents, ran(pipe, JOB).latents, atol=1e-3)


def test_another_scheduler_goes_through_the_levels_of_the_models_own(pipe: Any) -> None:
    pipe.scheduler.set_timesteps(7)
    levels = pipe.scheduler.sigmas
    with scheduled(pipe, "dpmpp_2m", torch.Generator()):
        pipe.scheduler.set_timesteps(7, "cpu")
        assert torch.equal(pipe.scheduler.sigmas, levels)


def test_a_scheduler_that_something_else_has_put_there_is_not_replaced(pipe: Any) -> None:
    kind, config = MADE["heun"]
    changed = copied(Model(), CPU)
    changed.scheduler = kind(**config)
    with pytest.raises(UserError, match=r"memory\.extra"), scheduled(changed, "dpm2", torch.Generator()):
        pass
    with scheduled(changed, "euler", torch.Generator()):
        assert isinstance(changed.scheduler, kind), "euler is whatever the pipeline has"
