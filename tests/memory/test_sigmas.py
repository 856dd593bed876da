"""Noise levels of a run: by name, by a list, down to 0 or to another level."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from diffusers.schedulers import AysSchedules

from svdsweep.config import Job, Memory, Model
from svdsweep.config.schedulers import SCHEDULERS, UNFIT
from svdsweep.errors import UserError
from svdsweep.memory.per_run import different_turns, sigmas_of, steps_of, unet_calls_of
from svdsweep.memory.sigmas import AYS
from svdsweep.models.architectures import SCHEDULER

JOB = Job(num_inference_steps=5)


def with_(**model: Any) -> Job:
    return replace(JOB, model=Model(**model))


def test_the_published_levels_are_those_that_diffusers_has() -> None:
    assert [*AYS, 0.0] == AysSchedules["StableDiffusionVideoSigmas"]


def test_karras_is_the_models_own_schedule() -> None:
    own = EulerDiscreteScheduler(**SCHEDULER)
    own.set_timesteps(5)
    assert torch.equal(torch.tensor(sigmas_of(with_(sigmas="karras"))), own.sigmas)
    assert sigmas_of(JOB) is None


def test_exponential_levels_fall_by_equal_factors() -> None:
    levels = sigmas_of(with_(sigmas="exponential"))
    assert levels is not None
    assert (levels[0], levels[4], levels[5]) == (pytest.approx(700), pytest.approx(0.002), 0.0)
    assert [a / b for a, b in pairwise(levels[:5])] == pytest.approx([(700 / 0.002) ** 0.25] * 4)


@pytest.mark.parametrize("schedule", ["model", "karras", "exponential", "ays"])
@pytest.mark.parametrize("steps", [1, 5, 10, 11])
def test_with_another_last_level_as_many_steps_fall_to_it(schedule: str, steps: int) -> None:
    levels = sigmas_of(replace(with_(sigmas=schedule, final_sigma=0.01), num_inference_steps=steps))
    assert levels is not None
    assert (len(levels), levels[0], levels[-1]) == (steps + 1, pytest.approx(700), pytest.approx(0.01))
    assert all(a > b for a, b in pairwise(levels))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 40])
def test_animatelcms_own_levels_are_every_so_many_of_its_forty_from_the_highest_on(steps: int) -> None:
    forty = EulerDiscreteScheduler(**SCHEDULER)
    forty.set_timesteps(40)
    levels = sigmas_of(replace(with_(scheduler="animatelcm"), num_inference_steps=steps))
    assert levels == pytest.approx([*forty.sigmas[:40][:: 40 // steps][:steps].tolist(), 0.0])


def test_a_list_says_how_many_steps_there_are_unless_the_strategy_has_levels_of_its_own() -> None:
    job = with_(sigmas=[700, 50, 5.5, 0])
    assert (steps_of(job), sigmas_of(job)) == (3, [700.0, 50.0, 5.5, 0.0])
    tuned = replace(JOB, memory=Memory(sigmas=[700, 9, 0.5, 0]))
    assert (steps_of(tuned), sigmas_of(tuned), tuned.num_inference_steps) == (3, [700.0, 9.0, 0.5, 0.0], 5)
    ten_steps = replace(job, memory=Memory(sigmas="ays", denoise_steps=10))
    assert (steps_of(ten_steps), sigmas_of(ten_steps)) == (10, [*AYS, 0.0])


def test_whole_numbers_in_a_list_are_the_same_job() -> None:
    assert (
        with_(sigmas=[700, 5, 0]).key == with_(sigmas=[700.0, 5.0, 0.0]).key == with_(sigmas=(700, 5, 0)).key
    )
    assert with_(sigmas="karras").key != JOB.key == with_(scheduler="euler", final_sigma=0.0).key


def test_what_is_predicted_of_a_run_is_as_many_calls_of_the_unet_as_it_makes() -> None:
    assert different_turns(with_(scheduler="heun")) == {0: 9} == {0: unet_calls_of(with_(scheduler="dpm2"))}
    assert different_turns(with_(scheduler="unipc")) == {0: 5}


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"sigmas": [700, 50, 60, 0]}, "60 after 50 does not fall"),
        ({"sigmas": [700, 700]}, "700 after 700 does not fall"),
        ({"sigmas": [700, -1]}, "not below 0"),
        ({"sigmas": [float("nan"), 1]}, "finite"),
        ({"sigmas": [float("inf"), 1]}, "finite"),
        ({"sigmas": [700]}, "one level is no step"),
        ({"sigmas": []}, "one level is no step"),
        ({"sigmas": 700}, "one level is no step"),
        ({"sigmas": ["a", 0]}, "every noise level is a number"),
        ({"sigmas": None}, "every noise level is a number"),
        ({"sigmas": "kerras"}, "Did you mean karras?"),
        ({"scheduler": "heunn"}, "Did you mean heun?"),
        ({"final_sigma": -0.1}, "final_sigma"),
    ],
)
def test_wrong_levels_are_refused_in_a_sentence(model: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refusal:
        Model(**model)
    assert told in str(refusal.value)


@pytest.mark.parametrize("name", UNFIT)
def test_a_scheduler_that_does_not_denoise_svd_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UserError) as refusal:
        Model(scheduler=name)
    assert str(refusal.value).startswith(f"model.scheduler={name}: {UNFIT[name]}")
    assert all(fit in str(refusal.value) for fit in SCHEDULERS)
