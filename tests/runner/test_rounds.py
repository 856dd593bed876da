"""Rounds: which jobs are due for another, and what their rows become."""

from dataclasses import replace
from typing import Any

import pytest

from svdsweep.config import Job, Measure, Memory
from svdsweep.probes.latency import time_columns
from svdsweep.runner.rounds import begun, differing, further_rounds, joined
from svdsweep.store.rows import STATUSES, Row

JOB = Job(num_frames=14, measure=Measure(rounds=3))
SLOW = Job(num_frames=14, measure=Measure(rounds=3), memory=Memory(offload="model"))
PLACE = {"device": "cuda:0", "gpu": "H100", "host": "node1"}


def row(job: Job = JOB, seconds: tuple[float, ...] = (2.0, 2.1), **more: Any) -> Row:
    series = {"total_s": list(seconds), "denoise_s": [s - 1 for s in seconds], "luma": [0.5, 0.6]}
    series["step_s"] = [[s / 4, s / 2] for s in seconds]
    times = time_columns(series, job.num_frames)
    values = {**times.values, "adj_psnr_db": 40.0, "host_ram_peak_gib": 1.0, "energy_j": 10.0, "loads": 1}
    values |= more.pop("values", {})
    notes = [*times.notes, *more.pop("notes", [])]
    return Row(job, **{"status": "ok", "values": values, "series": series, "notes": notes, **more})


def test_a_job_is_due_until_it_has_its_rounds() -> None:
    assert further_rounds([JOB], {}) == []
    assert further_rounds([JOB], {JOB.key: row()}) == [JOB]
    assert further_rounds([JOB], {JOB.key: row(values={"rounds": 3})}) == []
    for status in STATUSES:
        due = further_rounds([JOB], {JOB.key: row(status=status)})
        assert due == ([JOB] if status == "ok" else []), status
    assert further_rounds([Job()], {Job().key: row(Job())}) == []


@pytest.mark.parametrize("odd", [[], [None], [0.0], [-1, 2], None])
def test_a_row_without_the_seconds_of_each_repeat_gets_no_further_round(odd: list[Any] | None) -> None:
    found = row()
    series = {**found.series, "total_s": odd} if odd is not None else {"luma": [0.5]}
    assert further_rounds([JOB], {JOB.key: replace(found, series=series)}) == []


def test_a_further_round_is_of_the_job_that_was_asked_for_whatever_its_row_is_labelled() -> None:
    theirs = replace(JOB, metrics=replace(JOB.metrics, weights_dir="/elsewhere"))
    (due,) = further_rounds([JOB], {JOB.key: row(theirs)})
    assert due.metrics.weights_dir is None


def test_a_strategy_that_takes_longer_to_prepare_than_to_measure_gets_one_round() -> None:
    other = Job(seed=1, num_frames=14, measure=SLOW.measure, memory=SLOW.memory)
    rows = {SLOW.key: row(SLOW, values={"load_s": 1.0, "compile_s": 9.0}), other.key: row(other)}
    rows[JOB.key] = row(values={"load_s": 1.0, "warmup_s": 3.0})
    assert further_rounds([SLOW, other, JOB], rows) == [
        JOB
    ]  # 10 s for 4.1 + 4.1, though `other` itself took none
    third = Job(seed=2, num_frames=14, measure=SLOW.measure, memory=SLOW.memory)
    rows[third.key] = row(third)
    assert further_rounds([SLOW, other, third], rows) == [SLOW, other, third]


def test_a_baseline_takes_its_turn_as_long_as_one_that_is_compared_with_it_does():
    base = Job(num_frames=14, measure=JOB.measure, memory=Memory(offload="group_leaf"))
    compared = replace(JOB, baseline=base.key)
    long = row(base, values={"load_s": 99.0})
    assert further_rounds([base, compared], {base.key: long, compared.key: row(compared)}) == [base, compared]
    lone = {base.key: long, compared.key: row(compared, values={"rounds": 3})}
    assert further_rounds([base, compared], lone) == []


def test_the_repeats_of_rounds_are_joined_and_all_that_follows_from_them_is_made_anew() -> None:
    first = row(seconds=(2.0, 2.2))
    second = row(seconds=(3.0, 3.2), attempt=2, values={"host_ram_peak_gib": 1.5, "energy_j": 20.0})
    both = joined(first, second)
    assert both.series["total_s"] == [2.0, 2.2, 3.0, 3.2]
    assert both.series["step_s"][2] == [0.75, 1.5]
    assert both.series["round"] == [1, 1, 2, 2]
    assert both.series["luma"] == [0.5, 0.6]
    assert both.values["total_s"] == 2.6
    assert both.values["repeats"] == 4
    assert both.values["denoise_s"] == 1.6
    assert (both.values["rounds"], begun(both), both.attempt) == (2, 2, 2)
    assert both.values["host_ram_peak_gib"] == 1.5
    assert both.values["energy_j"] == 15.0
    assert both.values["loads"] == 2
    assert both.values["adj_psnr_db"] == 40.0
    assert any("varies by more than" in note for note in both.notes)
    three = joined(both, row(seconds=(2.0, 2.0), attempt=3, values={"energy_j": 30.0}))
    assert three.values["energy_j"] == pytest.approx(20.0)
    assert three.series["round"] == [1, 1, 2, 2, 3, 3]


def test_from_three_rounds_on_the_interval_is_that_of_the_rounds() -> None:
    pooled = [1.0, 1.001, 1.2, 1.201, 1.4, 1.401]
    one = time_columns({"total_s": pooled}, 14).values
    three = time_columns({"total_s": pooled, "round": [1, 1, 2, 2, 3, 3]}, 14).values
    means = time_columns({"total_s": [1.0005, 1.2005, 1.4005]}, 14).values
    assert three["total_s_low"] == pytest.approx(means["total_s_low"], rel=1e-4)
    assert three["total_s_high"] - three["total_s_low"] > one["total_s_high"] - one["total_s_low"]
    assert one["total_s_median_low"] is not None
    assert three["total_s_median_low"] is None


def test_notes_on_times_are_not_heaped_up() -> None:
    slowed = {"notes": ["the GPU was slowed down: power cap"], "values": {"throttle": "power cap"}}
    first = row(seconds=(2.0, 3.0), **slowed)
    assert any("varies" in note for note in first.notes)
    both = joined(first, row(seconds=(2.0, 3.0), attempt=2))
    assert len(both.notes) == 2
    assert "the GPU was slowed down: power cap" in both.notes


def test_what_is_suspicious_of_one_round_alone_is_not_told_of_both() -> None:
    rising, falling = (
        row(seconds=tuple(2 + i / 100 for i in order)) for order in (range(6), range(5, -1, -1))
    )
    assert "rises" in rising.notes[0]
    assert joined(rising, falling).notes == joined(falling, rising).notes == []


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (
            row(status="oom", error="CUDA out of memory\nTried", phase="denoise"),
            "oom in denoise (CUDA out of memory)",
        ),
        (row(status="crashed"), "crashed (no message)"),
        *(
            (row(provenance={**PLACE, name: "2"}), f"it ran on {name} 2, the others on {there}")
            for name, there in PLACE.items()
        ),
    ],
)
def test_a_round_that_failed_or_ran_elsewhere_is_told_and_takes_nothing_away(later: Row, said: str) -> None:
    first = row(provenance=PLACE, notes=["of the first"])
    both = joined(first, replace(later, attempt=4))
    assert (both.status, both.attempt) == ("ok", 4)
    assert both.notes[:-1] == first.notes == ["of the first"]
    assert both.series == first.series
    assert both.values == {**first.values, "rounds": 2}
    assert said in both.notes[-1]
    assert both.notes[-1].startswith("round 2 is missing")


def test_of_two_rounds_the_larger_peak_and_the_first_rounds_findings_stay() -> None:
    peaks = {"vram_allocated_peak_gib": 5.0, "host_ram_peak_gib": 9.0, "load_s": 1.0, "adj_psnr_db": 40.0}
    later = row(seconds=(2.0, 2.0), attempt=2, provenance={"worker": "b"}, notes=["of both", "later"])
    later.series.update({"luma": [0.9], "only_later": [1.0], "vae_decode_s": [0.5, 0.5]})
    less = {"vram_allocated_peak_gib": 7.0, "host_ram_peak_gib": 8.0, "load_s": 3.0, "adj_psnr_db": 30.0}
    later = replace(later, values={**later.values, **less, "only_later": 1.0})
    both = joined(row(values=peaks, notes=["first", "of both"], provenance={"worker": "a"}), later)
    assert both.notes.count("of both") == 1
    expected = {**peaks, "vram_allocated_peak_gib": 7.0, "only_later": 1.0}
    assert {name: both.values[name] for name in expected} == expected
    assert both.notes[:3] == ["first", "of both", "later"]
    assert both.provenance == {"worker": "b"}
    assert {name: both.series[name] for name in ("luma", "only_later", "vae_decode_s")} == {
        "luma": [0.5, 0.6],
        "only_later": [1.0],
        "vae_decode_s": [0.5, 0.5],
    }


def test_a_round_is_affordable_as_long_as_preparing_takes_no_longer_than_measuring() -> None:
    seconds = (2.0, 2.25)
    for prepared_s, due in ((4.25, [JOB]), (4.5, [])):
        held = row(seconds=seconds, values={"load_s": 1.0, "warmup_s": 2.0, "compile_s": prepared_s - 3.0})
        assert further_rounds([JOB], {JOB.key: held}) == due
    twice = joined(row(seconds=seconds), row(seconds=seconds, attempt=2))  # 4.25 s a round, not 8.5
    assert further_rounds([JOB], {JOB.key: replace(twice, values={**twice.values, "load_s": 5.0})}) == []
    twice.series["round"] = [1, 1, 3, 3]  # the second failed
    held = replace(
        twice, job=replace(JOB, measure=Measure(rounds=9)), values={**twice.values, "load_s": 4.25}
    )
    assert further_rounds([held.job], {held.key: held}) == [held.job]


def test_only_what_both_know_can_differ() -> None:
    one, other = (
        {"gpu": "A", "torch": "1", "host": None},
        {"gpu": "B", "torch": "1", "host": "x", "device": "cpu"},
    )
    assert differing(one, other, ("device", "host", "torch", "gpu")) == ["gpu"]


def test_rounds_are_slowed_down_together_and_one_without_a_driver_leaves_it_unknown() -> None:
    def watched(attempt: int, mhz: float, slowed_s: float, throttle: str) -> Row:
        plain = row(seconds=(2.0, 2.0), attempt=attempt, values={"throttle": throttle})
        state = {"sm_clock_mean_mhz": mhz, "throttled_s": slowed_s, "throttled_power_s": slowed_s}
        return replace(plain, series=plain.series | {name: [value] * 2 for name, value in state.items()})

    both = joined(watched(1, 2000.0, 0.0, ""), watched(2, 1000.0, 1.0, "power cap"))
    assert both.series["throttled_s"] == [0.0, 0.0, 1.0, 1.0]
    assert (both.values["sm_clock_mean_mhz"], both.values["throttled_pct"]) == (1500.0, 25.0)
    assert both.values["throttle"] == "power cap"
    assert both.notes == ["the GPU was slowed down: power cap for 25 % of the time"]
    blind = joined(both, row(seconds=(2.0, 2.0), attempt=3))
    assert blind.series["throttled_s"] == [0.0, 0.0, 1.0, 1.0, None, None]
    assert (blind.values["throttled_pct"], blind.values["throttle"]) == (None, "power cap")
    assert blind.notes == ["the GPU was slowed down: power cap"]
