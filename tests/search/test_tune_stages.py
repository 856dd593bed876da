"""The stages of a search, and what is shown of it: held-out cases alone, with intervals."""

from dataclasses import replace

import pytest
from planted_schedules import BEST_DB, cases, ended, row

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.search.tune_figures import Figure, costs, figures
from svdsweep.search.tune_schedules import population_of
from svdsweep.search.tune_stages import Outcome, Wish
from svdsweep.store.rows import Row

pytest.importorskip("cmaes")
WISH = Wish(cases(), (4,), 56)


def of(found: list[Figure], road: str) -> Figure:
    return next(figure for figure in found if figure.road == road)


def test_a_search_begins_with_the_full_runs_goes_by_generations_and_ends_with_the_held_out_cases() -> None:
    told: list[int] = []
    outcome, rows = ended(WISH, told=lambda outcome: told.append(len(outcome.trials[4])))
    population = population_of(4)
    assert told == [*range(population, 8 * population + 1, population), 8 * population + 1]
    held_out = {case.key for case in WISH.cases.held_out}
    shown = [job for jobs in outcome.shown[4].values() for job in jobs]
    assert {job.baseline for job in shown} == held_out
    assert not {job.baseline for trial in outcome.trials[4] for job in trial.jobs} & held_out
    assert {len(jobs) for jobs in outcome.shown[4].values()} == {6}
    assert costs(rows).unet_calls == sum(25 if row.job.baseline == row.key else 4 for row in rows.values())


def test_a_tuned_schedule_that_is_nearer_on_the_held_out_cases_is_better() -> None:
    outcome, rows = ended(WISH)
    found = figures(outcome, rows)
    tuned, published = of(found, "tuned"), of(found, "ays")
    assert [figure.road for figure in found] == ["tuned", "ays", "euler"]
    assert tuned.is_better
    assert not published.is_better
    assert (tuned.latents.n, tuned.levels) == (6, outcome.chosen[4].levels)
    assert tuned.latents.value == pytest.approx(BEST_DB, abs=1)
    assert (tuned.latents_gain.low or 0) > 0
    assert of(found, "euler").latents_gain.value == pytest.approx(
        of(found, "euler").latents.value - published.latents.value
    )


def unlike(job: Job) -> Row:
    """Rows of a world in which what helps the searched cases harms the others."""
    mine, searched = row(job), {case.key for case in WISH.cases.searched}
    error = mine.values.get("latents_error_to_baseline")
    if job.baseline in searched or not isinstance(error, float):
        return mine
    return replace(mine, values=mine.values | {"latents_error_to_baseline": 1e-3 / error})


def test_a_schedule_that_helps_the_searched_cases_alone_is_not_better() -> None:
    outcome, rows = ended(WISH, unlike)
    tuned = of(figures(outcome, rows), "tuned")
    assert not tuned.is_better
    assert (tuned.latents_gain.high or 0) < 0


def test_a_schedule_whose_frames_are_surely_farther_is_not_better() -> None:
    outcome, rows = ended(WISH)
    tuned = of(figures(outcome, rows), "tuned")
    worse = replace(tuned.frames_gain, value=-2.0, low=-3.0, high=-1.0)
    assert not replace(tuned, frames_gain=worse).is_better


def test_a_held_out_case_that_failed_under_one_schedule_counts_for_none() -> None:
    outcome, rows = ended(WISH)
    lost = outcome.shown[4]["euler"][1].key
    found = figures(outcome, {**rows, lost: replace(rows[lost], status="failed")})
    assert {figure.latents.n for figure in found} == {5}


def test_without_a_full_run_there_is_no_search() -> None:
    def failing(job: Job) -> Row:
        return replace(row(job), status="oom", error="CUDA out of memory")

    with pytest.raises(UserError, match=r"full run of a case .* oom: CUDA out of memory.*svdsweep show"):
        ended(WISH, failing)


def test_two_numbers_of_steps_are_searched_side_by_side() -> None:
    outcome, rows = ended(Wish(cases(), (3, 4), 1))
    assert outcome.chosen.keys() == {3, 4}
    assert isinstance(outcome, Outcome)
    assert [figure.steps for figure in figures(outcome, rows)] == [3, 3, 3, 4, 4, 4]
