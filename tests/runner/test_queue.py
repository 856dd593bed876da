"""The queue: attempts, rows made elsewhere, and the rounds in which all strategies have their turn, then all again."""

import io
from dataclasses import replace
from itertools import groupby

import fakes
import pytest
from running import Heard, cpu, ran, stored, sweep

from svdsweep.config import Measure, Runner
from svdsweep.runner.pending import pending
from svdsweep.runner.progress import Lines
from svdsweep.runner.queue import open_queue
from svdsweep.runner.rounds import turn
from svdsweep.store.rows import STATUSES, Row, Store, last_rows

pytestmark = pytest.mark.timeout(90)

STRATEGIES = (None, 2)


def test_rows_of_another_torch_are_kept_and_the_user_is_told_once(folder):
    sweep(folder, [fakes.job(0, "torch 2.6"), fakes.job(1, "torch 2.6")])
    heard = Heard()
    rows = sweep(folder, [fakes.job(i, "torch 2.7") for i in range(4)], watch=heard)
    assert sorted(row.job.seed for row in rows) == [2, 3]
    told = [text for text in heard.texts if "made elsewhere" in text]
    assert told == [text for text in told if "2 rows" in text and "torch 2.6; now torch 2.7" in text]
    assert len(told) == 1
    sweep(folder, [fakes.job(5, "torch 2.7")], watch=(again := Heard()))
    assert any("made elsewhere" in text for text in again.texts)


def test_rows_from_elsewhere_are_told_with_the_first_row_that_says_where_it_comes_from(tmp_path):
    grid, heard = [fakes.job(seed) for seed in range(6)], Heard()
    store = Store(tmp_path, "earlier")
    for job, torch in zip(grid, (None, "2.7", "2.6"), strict=False):
        store.append(Row(job, "ok", provenance={"torch": torch}))
    with open_queue(grid, cpu(), Store(tmp_path), heard, signals=False) as queue:
        for torch in (None, "2.7", "2.6"):  # the third is another device of this run, not another run
            queue.keep(answered(queue.take("a"), provenance={"torch": torch, "gpu": None}), 1.0, 1, [])
    (told,) = heard.texts
    assert told.startswith("1 rows of this sweep were made elsewhere (torch 2.6; now torch 2.7).")


def test_a_second_device_of_a_run_makes_no_strangers_of_the_rows_before(tmp_path):
    grid, heard = [fakes.job(seed) for seed in range(3)], Heard()
    Store(tmp_path, "earlier").append(Row(grid[0], "ok", provenance={"gpu": "A"}))
    with open_queue(grid, cpu(), Store(tmp_path), heard, signals=False) as queue:
        for gpu in "AB":
            queue.keep(answered(queue.take("a"), provenance={"gpu": gpu}), 1.0, 1, [])
    assert heard.texts == []


def stages(count, asked):
    """`more` for stages of a job each, which notes the seeds of the rows that it is given."""

    def more(rows):
        asked.append(sorted(row.job.seed for row in rows.values()))
        return [fakes.job(len(asked))] if len(asked) < count else []

    return more


def test_the_rows_of_a_stage_decide_the_next_which_the_same_processes_run(folder):
    asked, watch = [], Heard()
    sweep(folder, [fakes.job(0)], cpu(1), watch=watch, more=stages(4, asked))
    assert asked == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    assert len({row.values["pid"] for row in stored(folder)}) == 1


def test_stages_whose_rows_are_there_are_passed_by_when_a_sweep_goes_on(folder):
    sweep(folder, [fakes.job(0)], cpu(1), more=stages(3, []))
    sweep(folder, [fakes.job(0)], cpu(1), more=stages(4, []))
    assert sorted(row.job.seed for row in stored(folder)) == [0, 1, 2, 3]


def test_no_further_stage_is_begun_once_a_sweep_is_stopped(folder):
    asked = []
    sweep(folder, [fakes.job(0, "raise")], cpu(1, fail_fast=True), more=stages(3, asked))
    assert asked == []


@pytest.mark.parametrize("status", STATUSES)
def test_fail_fast_stops_at_a_fault_and_at_no_finding(tmp_path, status):
    grid, heard = [fakes.job(0), fakes.job(1)], Heard()
    with open_queue(grid, cpu(fail_fast=True), Store(tmp_path), heard, signals=False) as queue:
        row = Row(queue.take("a"), status, provenance={"worker": "a"})
        queue.keep(row, seconds=1.0, workers=1, under_way=[])
        is_fault = status in ("failed", "crashed", "timeout")
        assert (queue.stopped, len(queue)) == (is_fault, 0 if is_fault else 1)
    assert any("fail_fast" in text for text in heard.texts) == is_fault


@pytest.mark.parametrize(
    ("options", "kept"), [({}, [9.0, 1.0]), ({"retry": ["ok"]}, [1.0]), ({"fresh": True}, [1.0])], ids=str
)
def test_a_measurement_that_is_asked_for_again_is_not_joined_with_the_old(tmp_path, options, kept):
    job = replace(fakes.job(0), measure=Measure(rounds=3))
    Store(tmp_path, "earlier").append(Row(job, "ok", values={"total_s": 9.0}, series={"total_s": [9.0]}))
    with open_queue([job], cpu(**options), Store(tmp_path), Heard(), signals=False) as queue:
        row = Row(queue.take("a"), "ok", values={"total_s": 1.0}, series={"total_s": [1.0]})
        queue.keep(replace(row, provenance={"worker": "a"}), seconds=1.0, workers=1, under_way=[])
    assert last_rows(stored(tmp_path))[job.key].series["total_s"] == kept


def test_fresh_runs_all_again_and_counts_the_attempts(folder):
    jobs = [fakes.job(i) for i in range(3)]
    sweep(folder, jobs)
    assert {row.attempt for row in sweep(folder, jobs, cpu(fresh=True))} == {2}


def jobs(rounds=3, does="timed"):
    return [
        replace(fakes.job(seed, does, forward_chunk_size=size), measure=Measure(rounds=rounds))
        for size in STRATEGIES
        for seed in range(2)
    ]


def test_strategies_take_turns_and_the_last_row_holds_every_round(folder):
    text = io.StringIO()
    rows = sweep(folder, jobs(), cpu(workers=1, order_seed=1), watch=Lines(text))
    assert len(rows) == 12
    order = [line.split() for line in (folder / "ran").read_text(encoding="utf-8").splitlines()]
    turns = [len(list(group)) for _, group in groupby(settings for _, _, settings in order)]
    assert turns == [
        2,
        4,
        2,
        2,
        2,
    ]  # the second round begins with what the first ended with, the third is drawn
    for row in last_rows(stored(folder)).values():
        assert (row.values["rounds"], row.values["repeats"], row.values["total_s"]) == (3, 3, 2.0)
        assert row.values["order_seed"] == 1
        assert row.series == {"total_s": [1.0, 2.0, 3.0], "round": [1, 2, 3]}
        assert row in rows
    assert "[12/12]" in text.getvalue()
    assert pending(jobs(), Store(folder).rows(), Runner()) == []
    assert sweep(folder, jobs(), cpu(workers=1)) == []


def test_two_workers_share_every_round(folder):
    sweep(folder, jobs())
    assert set(ran(folder).values()) == {3}
    assert all(row.values["repeats"] == 3 for row in last_rows(stored(folder)).values())


def test_an_interrupted_sweep_goes_on_with_the_rounds_that_are_missing(folder):
    grid = jobs(rounds=2)
    for job in grid[:3]:
        Store(folder, "earlier").append(Row(job, "ok", values={"total_s": 1.0}, series={"total_s": [1.0]}))
    assert pending(grid, Store(folder).rows(), Runner()) == grid
    sweep(folder, grid, cpu(workers=1))
    assert ran(folder) == {grid[0].key: 1, grid[1].key: 1, grid[2].key: 1, grid[3].key: 2}
    assert all(row.values["repeats"] == 2 for row in last_rows(stored(folder)).values())


def test_an_interrupted_sweep_goes_on_in_the_order_that_it_began_with(folder):
    grid = jobs(rounds=2)
    for job in grid:
        row = Row(job, "ok", values={"total_s": 1.0, "order_seed": 7}, series={"total_s": [1.0]})
        Store(folder, "earlier").append(row)
    rows = sweep(folder, grid, cpu(workers=1, order_seed=1))
    assert [row.values["order_seed"] for row in rows] == [7] * 4
    there = sorted({job.pipeline_key for job in grid}, key=lambda key: turn(7, 2, key))
    assert list(dict.fromkeys(row.job.pipeline_key for row in rows)) == there


def test_without_rounds_no_order_is_drawn(folder):
    assert "order_seed" not in sweep(folder, [fakes.job(0)], cpu(workers=1))[0].values


def test_fresh_begins_with_the_first_round(folder):
    sweep(folder, jobs(rounds=2), cpu(workers=1))
    sweep(folder, jobs(rounds=2), cpu(workers=1, fresh=True))
    last = last_rows(stored(folder)).values()
    assert [row.series["total_s"] for row in last] == [[3.0, 4.0]] * 4


def test_a_process_that_dies_in_a_later_round_costs_that_round_only(folder):
    rows = sweep(folder, jobs(does="timed 2"), cpu(workers=1))
    assert {row.status for row in rows} == {"ok"}
    for row in last_rows(stored(folder)).values():
        assert row.series["total_s"] == [1.0, 3.0]
        assert row.series["round"] == [1, 3]
        assert any("round 2 is missing: it ended as crashed" in note for note in row.notes)


def answered(job, status="ok", provenance=None, **more):
    return Row(job, status, provenance={"worker": "w-1", **(provenance or {})}, **more)


def test_attempts_are_counted_on_and_a_job_that_is_done_leaves_the_queue(tmp_path):
    grid = [fakes.job(seed) for seed in range(3)]
    Store(tmp_path, "earlier").append(Row(grid[0], "failed", attempt=1))
    Store(tmp_path, "earlier").append(Row(grid[1], "ok", attempt=1))
    with open_queue(grid, cpu(attempts=2), Store(tmp_path), Heard(), signals=False) as queue:
        assert (queue.jobs, len(queue), queue.waiting) == (2, 2, 2)
        assert [queue.attempt(job) for job in grid] == [2, 2, 1]
        taken = queue.take("a")
        assert (taken, len(queue)) == (grid[0], 1)
        queue.put_back(taken)
        assert len(queue) == 2
        assert queue.take("a") == grid[0]
        assert (tmp_path / "claims" / grid[0].key).exists()
        queue.keep(answered(grid[0], "failed", attempt=2), seconds=1.0, workers=1, under_way=[])
        assert not (tmp_path / "claims" / grid[0].key).exists()
        assert queue.attempt(grid[0]) == 3
        assert (queue.take("a"), queue.take("a")) == (grid[2], None)


def test_a_job_that_another_driver_holds_is_left_to_it_until_its_row_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("svdsweep.runner.queue.LOOK_S", 0.0)
    grid = [fakes.job(seed) for seed in range(3)]
    first, second = Heard(), Heard()
    Store(tmp_path, "earlier").append(Row(grid[0], "failed", attempt=3))
    with open_queue(grid, cpu(attempts=9), Store(tmp_path), first, signals=False) as one:
        here = one.take("a")
        with open_queue(grid, cpu(attempts=9), Store(tmp_path), second, signals=False) as other:
            other._tail.but = ""  # both drivers are this process and have one file of rows
            assert [other.take("b") for _ in range(3)] == [grid[1], grid[2], None]
            assert (len(other), other.waiting) == (1, 0)
            other.look()
            assert (len(other), second.jobs_elsewhere) == (1, 0)
            one.keep(answered(here, attempt=4), seconds=1.0, workers=1, under_way=[])
            other.look()
            assert (len(other), second.jobs_elsewhere, other.attempt(here)) == (0, 1, 5)


def test_a_job_whose_row_came_between_a_look_and_its_lease_is_not_run_again_and_held_by_nobody(tmp_path):
    job, heard = fakes.job(0), Heard()
    Store(tmp_path, "earlier").append(Row(job, "failed", attempt=3))
    with open_queue([job], cpu(attempts=9), Store(tmp_path), heard, signals=False) as queue:
        Store(tmp_path, "meanwhile").append(Row(job, "failed", attempt=2))
        assert (queue.take("a"), len(queue), heard.jobs_elsewhere) == (None, 0, 1)
        assert not (tmp_path / "claims" / job.key).exists()
        assert queue.attempt(job) == 4


def test_a_drained_queue_awaits_no_job_of_another_driver(tmp_path):
    grid = [fakes.job(seed) for seed in range(2)]
    with (
        open_queue(grid, cpu(), Store(tmp_path), Heard(), signals=False) as one,
        open_queue(grid, cpu(fail_fast=True), Store(tmp_path), Heard(), signals=False) as other,
    ):
        one.take("a")
        here = other.take("b")
        assert (other.take("c"), len(other)) == (None, 1)
        other.keep(answered(here, "crashed"), seconds=1.0, workers=1, under_way=[])
        assert (other.stopped, len(other)) == (True, 0)


def test_fail_fast_stops_at_a_round_that_failed_too(tmp_path):
    job = replace(fakes.job(0), measure=Measure(rounds=3))
    with open_queue([job], cpu(fail_fast=True), Store(tmp_path), Heard(), signals=False) as queue:
        queue.keep(answered(queue.take("a"), series={"total_s": [1.0]}), seconds=1.0, workers=1, under_way=[])
        assert (queue.stopped, queue.next_round()) == (False, 1)
        queue.keep(answered(queue.take("a"), "failed", attempt=2), seconds=1.0, workers=1, under_way=[])
        assert (queue.stopped, queue.next_round()) == (True, 0)


def test_the_rounds_of_a_measurement_are_due_until_all_are_there_and_the_watch_hears_of_them(tmp_path):
    job, more = replace(fakes.job(0), measure=Measure(rounds=2)), []
    heard = Heard()
    heard.added = more.append
    with open_queue([job], cpu(), Store(tmp_path), heard, signals=False) as queue:
        for number, seconds in ((1, 4.0), (2, 2.0)):
            taken = queue.take("a")
            row = answered(taken, attempt=queue.attempt(taken), series={"total_s": [seconds]})
            kept = queue.keep(replace(row, values={"total_s": seconds}), seconds=1.0, workers=1, under_way=[])
            assert (kept.attempt, kept.series["total_s"]) == (number, [4.0, 2.0][:number])
            assert (queue.next_round(), len(queue)) == ((1, 1) if number == 1 else (0, 0))
    assert more == [1]
    (row,) = last_rows(stored(tmp_path)).values()
    assert (row.values["total_s"], row.values["rounds"]) == (3.0, 2)


def test_a_drained_queue_begins_no_round_and_takes_nothing_back(tmp_path):
    grid = [replace(fakes.job(seed), measure=Measure(rounds=2)) for seed in range(3)]
    with open_queue(grid, cpu(fail_fast=True), Store(tmp_path), Heard(), signals=False) as queue:
        good, bad, given = (queue.take(name) for name in "abc")
        queue.keep(answered(good, series={"total_s": [1.0]}), seconds=1.0, workers=1, under_way=[])
        queue.keep(answered(bad, "failed"), seconds=1.0, workers=1, under_way=[])
        queue.put_back(given)
        assert (queue.stopped, len(queue), queue.next_round()) == (True, 0, 0)


def test_the_watch_hears_the_time_left_of_what_waits_and_what_is_under_way(tmp_path, monkeypatch):
    monkeypatch.setattr("svdsweep.runner.queue.LOOK_S", -1.0)
    heard, left = Heard(), []
    heard.finished = lambda worker, row, left_s: left.append((worker, left_s))
    with open_queue(
        [fakes.job(seed) for seed in range(4)], cpu(), Store(tmp_path), heard, signals=False
    ) as queue:
        done, other = queue.take("a"), queue.take("b")
        row = answered(done, values={"load_s": 4.0})
        queue.keep(row, seconds=10.0, workers=3, under_way=[other])
    assert left == [("w-1", pytest.approx(5.0))]  # 6 s a job: two that wait and half of one, by three workers
