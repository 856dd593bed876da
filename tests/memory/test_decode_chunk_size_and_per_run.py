"""How many frames fit, and which arguments a strategy gives a run."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.schedulers import AysSchedules

from svdsweep.config import Job, Memory
from svdsweep.memory.decode_chunk_size import frames_that_fit
from svdsweep.memory.per_run import arguments, guidance_of, is_guided, sigmas_of, steps_of

JOB = Job(num_inference_steps=25, max_guidance_scale=3.0)
SVD, PRECISE = (
    SimpleNamespace(
        vae=SimpleNamespace(config=SimpleNamespace(block_out_channels=(128, 512)), dtype=dtype),
        unet=SimpleNamespace(dtype=torch.float16),
    )
    for dtype in (torch.float16, torch.float32)
)


def under(**knobs: object) -> Job:
    return replace(JOB, memory=Memory(**knobs))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("free_gib", "frames"), [(0.5, 1), (2, 1), (4, 2), (8, 6), (12, 9), (40, 25), (141, 25)]
)
def test_as_many_frames_as_fit_a_card(free_gib: float, frames: int) -> None:
    assert frames_that_fit(SVD, 25, 576, 1024, free_gib) == frames
    assert 1.125 * frames < free_gib or frames == 1


def test_a_frame_takes_the_precision_of_the_decoder_whatever_the_unet_has() -> None:
    assert frames_that_fit(SVD, 25, 576, 1024, 12) == 9
    assert frames_that_fit(PRECISE, 25, 576, 1024, 12) == 4


def test_a_plain_job_gives_its_own_arguments() -> None:
    told: dict[str, Any] = {"height": 64, "width": 96, "num_frames": 5, "num_inference_steps": 6, "fps": 8}
    told |= {"motion_bucket_id": 9, "noise_aug_strength": 0.5}
    told |= {"min_guidance_scale": 1.5, "max_guidance_scale": 2.5}
    assert arguments(Job(**told), sigma_min=0.002) == told
    assert is_guided(JOB)


def test_guidance_off_halves_the_work() -> None:
    assert guidance_of(under(guidance=False)) == (1.0, 1.0)
    assert not is_guided(under(guidance=False))
    strong = replace(under(guidance=False), min_guidance_scale=2.0)
    assert guidance_of(strong) == (1.0, 1.0)  # at 2.0 diffusers would guide, and stop
    told = arguments(strong, sigma_min=0.002)
    assert (told["min_guidance_scale"], told["max_guidance_scale"]) == (1.0, 1.0)


def test_the_published_schedule_is_given_as_published() -> None:
    job = under(sigmas="ays", denoise_steps=10)
    assert steps_of(job) == 10
    assert sigmas_of(job, 0.002) == AysSchedules["StableDiffusionVideoSigmas"]


@pytest.mark.parametrize("steps", [5, 20, 25])
def test_other_numbers_of_steps_lie_between_the_published_levels(steps: int) -> None:
    sigmas = sigmas_of(under(sigmas="ays", denoise_steps=steps), 0.002)
    assert sigmas is not None
    assert len(sigmas) == steps + 1
    assert sigmas == sorted(sigmas, reverse=True)
    assert (sigmas[0], sigmas[-1]) == (pytest.approx(700.0), 0.0)
    if steps % 10 == 0:
        published = AysSchedules["StableDiffusionVideoSigmas"][:-1]
        assert sigmas[:-1:2] == pytest.approx(published)
