"""Frames are judged while the device does its next job: each job has its one row, and no other's death is its own."""

from collections import Counter

import fakes
import pytest
from running import Heard, cpu, ran, stored, sweep

from svdsweep.errors import Stopped

pytestmark = pytest.mark.timeout(60)


def done(folder, *acts, **options):
    """The rows of a sweep by one worker, as (seed, status)."""
    rows = sweep(folder, [fakes.job(i, does) for i, does in enumerate(acts)], cpu(workers=1, **options))
    assert {row.key for row in stored(folder)} == {row.key for row in rows}
    return [(row.job.seed, row.status) for row in rows]


def test_the_next_job_begins_while_frames_are_judged_and_rows_come_in_order(folder):
    assert done(folder, "judge next", "judge next", "") == [(0, "ok"), (1, "ok"), (2, "ok")]
    assert set(ran(folder).values()) == {1}


def test_a_fault_of_a_judge_is_its_jobs(folder):
    assert done(folder, "judge raise", "") == [(0, "failed"), (1, "ok")]


def test_a_judge_that_cannot_write_stops_the_sweep(folder):
    with pytest.raises(Stopped, match="cannot be written"):
        done(folder, "judge full", "sleep 5")


def test_a_death_of_two_is_blamed_on_neither_and_each_runs_again_by_itself(folder):
    assert done(folder, "judge exit", "sleep 0.8", "") == [(0, "crashed"), (1, "ok"), (2, "ok")]
    assert sorted(ran(folder).values()) == [1, 2, 2]
    assert {row.attempt for row in stored(folder)} == {1}


def test_a_death_beside_which_nothing_ran_is_its_own(folder):
    assert done(folder, "judge exit") == [(0, "crashed")]


def test_who_is_judged_too_long_alone_is_late(folder):
    assert done(folder, "judge 30", "", timeout_s=1) == [(0, "timeout"), (1, "ok")]
    assert max(ran(folder).values()) == 2, "the innocent is done again"


def test_who_runs_too_long_beside_a_judge_is_late_and_the_judged_is_done_again(folder):
    rows = done(folder, "judge 1.5", "hang", timeout_s=1)
    assert rows[0][0] != rows[1][0]
    assert dict(rows)[1] == "timeout"


@pytest.mark.parametrize("isolation", ["job", pytest.param("settings", marks=pytest.mark.slow)])
def test_a_process_that_judges_is_not_replaced_before_it_has_ended(folder, isolation):
    acts = ["judge 0.2", "judge 0.1", "oom", "judge 0"]
    assert done(folder, *acts, isolation=isolation) == [(0, "ok"), (1, "ok"), (2, "oom"), (3, "ok")]
    assert set(ran(folder).values()) == {1}


def test_the_terminal_shows_the_job_that_runs_and_not_the_one_that_is_judged(folder):
    heard = Heard()
    jobs = [fakes.job(0, "judge next"), fakes.job(1)]
    sweep(folder, jobs, cpu(workers=1), watch=heard)
    assert Counter(heard.phases) == {"load": 1, "denoise": 2}
