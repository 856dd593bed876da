"""Which cases are searched on and which are shown, and grids that a schedule cannot be searched on."""

from dataclasses import replace
from typing import Any

import pytest
from planted_schedules import grid

from svdsweep.config import Job, Memory, Model
from svdsweep.errors import UserError
from svdsweep.search.tune_cases import check, split


def noise(jobs: list[Job]) -> set[tuple[str, int]]:
    return {(job.image.sha256, job.seed) for job in jobs}


def test_no_picture_with_a_seed_is_both_searched_and_shown_and_each_is_its_own_baseline() -> None:
    jobs = [replace(job, motion_bucket_id=bucket) for job in grid(4, 4) for bucket in (60, 127, 180)]
    cases = split(jobs, 4, 12, 0)
    assert (len(cases.searched), len(cases.held_out)) == (4, 12)
    assert len(noise(cases.all)) == 16
    assert all(case.baseline == case.key for case in cases.all)
    assert {case.image.name for case in cases.searched} == {f"p{i}" for i in range(4)}


def test_a_split_is_that_of_its_seed_whatever_the_order_of_the_grid() -> None:
    jobs = grid(6, 3)
    one, again, other = split(jobs, 4, 8, 5), split(jobs[::-1], 4, 8, 5), split(jobs, 4, 8, 6)
    assert one == again
    assert one != other


@pytest.mark.parametrize(("cases", "searched"), [(4, 1), (6, 2), (8, 2), (16, 4), (30, 4)])
def test_of_a_small_grid_a_quarter_is_searched(cases: int, searched: int) -> None:
    assert len(split(grid(1, cases), 4, 12, 0).searched) == searched


@pytest.mark.parametrize(
    "jobs", [grid(1, 1), grid(3, 1), [replace(grid(1, 1)[0], fps=n) for n in range(5, 25)]]
)
def test_too_few_cases_are_refused_with_what_to_give(jobs: list[Job]) -> None:
    with pytest.raises(UserError, match=rf"4 pairs .* this grid has {len(noise(jobs))}\. .*seed=range\(16\)"):
        split(jobs, 4, 12, 0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"memory": Memory(denoise_steps=9)}, "leave out memory.denoise_steps"),
        ({"memory": Memory(sigmas="ays")}, "memory.sigmas"),
        ({"memory": Memory(step_cache="linear")}, "memory.step_cache"),
        ({"model": Model(sigmas=[700, 9, 0])}, "lists in model.sigmas"),
        ({"model": Model(final_sigma=0.1)}, "model.final_sigma"),
        ({"model": Model(scheduler="heun")}, "model.scheduler=heun"),
        ({"num_inference_steps": 6}, "num_inference_steps=6"),
    ],
)
def test_what_tune_decides_by_itself_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check([replace(job, **change) for job in grid()], (6,))


def test_one_model_and_one_strategy_are_searched_for_at_a_time() -> None:
    jobs = grid()
    check([replace(job, memory=Memory(offload="model")) for job in jobs], (6, 8))
    with pytest.raises(UserError, match="one model under one strategy"):
        check([*jobs, replace(jobs[0], memory=Memory(offload="model"))], (6,))
    with pytest.raises(UserError, match="num_inference_steps=25,30"):
        check([*jobs, replace(jobs[0], num_inference_steps=30)], (6,))
