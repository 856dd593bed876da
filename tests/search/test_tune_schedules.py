"""Noise levels as a search sees them, and the search itself on an objective whose best is known."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from planted_schedules import BEST, cases, gap_db, row

from svdsweep.errors import UserError
from svdsweep.memory.sigmas import SIGMA_MIN
from svdsweep.search.tune_schedules import (
    Search,
    gaps_of,
    judged,
    levels_of,
    nearness_db,
    population_of,
    published,
)

pytest.importorskip("cmaes")
FAR = [0.0, 3.0, -9.0, 9.0, 40.0]


def generations(search: Search, count: int) -> Search:
    for _ in range(count):
        asked = search.ask()
        search.tell(asked, {job.key: row(job) for trial in asked for job in trial.jobs})
    return search


@pytest.mark.parametrize("steps", [2, 6, 10, 40])
def test_published_levels_go_through_their_gaps_and_back(steps: int) -> None:
    levels = published(steps)
    assert len(levels) == steps + 1
    assert levels_of(gaps_of(levels)) == pytest.approx(levels, rel=1e-4)  # five digits are kept


@pytest.mark.parametrize("first", FAR)
@pytest.mark.parametrize("second", FAR)
def test_whatever_the_gaps_levels_fall_and_stay_within_what_the_model_knows(
    first: float, second: float
) -> None:
    levels = levels_of([first, second, 0.0])
    assert levels[0] == 700
    assert levels[-1] == 0
    assert min(levels[:-1]) >= SIGMA_MIN * (1 - 1e-4)
    assert all(a > b for a, b in pairwise(levels))


def test_the_first_trial_is_align_your_steps_and_the_search_ends_near_the_best_levels() -> None:
    search = generations(Search(4, cases().searched), 14)
    first = search.trials[0]
    assert first.levels == pytest.approx(published(4), rel=1e-4)
    # half a dB of the planted objective are 0.4 in log sigma
    assert gap_db(search.middle().jobs[0]) < 0.5 < gap_db(first.jobs[0])
    assert np.log(search.best.levels[:-1]) == pytest.approx(np.log(BEST[:-1]), abs=0.5)


def test_a_search_takes_the_same_way_again_by_its_seed_and_another_way_by_another() -> None:
    one, again, other = (generations(Search(4, cases().searched, seed), 3).trials for seed in (1, 1, 2))
    assert one == again
    assert one[0] == other[0]
    assert one[1:] != other[1:]


def test_a_trial_with_a_case_that_failed_has_no_figure_and_the_search_goes_on() -> None:
    search = Search(4, cases().searched)
    asked = search.ask()
    rows = {job.key: row(job) for trial in asked for job in trial.jobs}
    failed = asked[2].jobs[1]
    rows[failed.key] = replace(rows[failed.key], status="failed")
    search.tell(asked, rows)
    assert [trial.nearness_db is None for trial in search.trials] == [i == 2 for i in range(population_of(4))]
    assert generations(search, 1).best.nearness_db == max(t.nearness_db or 0 for t in search.trials)


def test_where_no_trial_ends_well_the_reason_is_told() -> None:
    search = Search(4, cases().searched)
    asked = search.ask()
    rows = {j.key: replace(row(j), status="oom", error="CUDA out of memory") for t in asked for j in t.jobs}
    with pytest.raises(UserError, match=r"No schedule of 4 steps .* oom \(CUDA out of memory\)"):
        search.tell(asked, rows)


def test_of_a_lucky_trial_and_the_middle_the_middle_is_taken_unless_it_is_clearly_farther() -> None:
    search = generations(Search(4, cases().searched), 2)
    middle = search.middle()
    rows = {job.key: row(job) for job in middle.jobs}
    near = judged(middle, rows).nearness_db or 0.0
    best = search.best.nearness_db or 0.0
    chosen = search.choose(middle, rows)
    assert chosen.number == (middle.number if best <= near + 0.3 else search.best.number)


def test_nearness_is_in_db_and_unknown_for_what_was_not_compared() -> None:
    job = cases().searched[0]
    told = replace(row(job), values={"latents_error_to_baseline": 0.1})
    assert nearness_db(told) == pytest.approx(20)
    assert nearness_db(replace(told, values={"latents_error_to_baseline": 0.0})) == pytest.approx(120)
    for unknown in (None, row(job), replace(told, status="defective")):
        assert nearness_db(unknown) is None
    assert math.isfinite(nearness_db(told) or math.nan)
