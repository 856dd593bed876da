"""What to take, in one sentence: honest where frames change, noise hides, or nothing ended well."""

from dataclasses import replace

import made_up
import pandas as pd
import pytest

from svdsweep.analysis.advice import advice
from svdsweep.analysis.pairs import Estimate
from svdsweep.store.rows import Row

HERE = made_up.in_memory(made_up.ok(made_up.job(), vram_allocated_peak_gib=8.0))


def ratio(value, low, high, verdict):
    return Estimate(value, low, high, 5, verdict)


BASE = made_up.strategy("baseline", machine="card", total_s=10.0, memory_gib=20.0, equality="baseline")
FAST = replace(
    BASE, name="fast", total_s=8.0, memory_gib=22.0, equality="equivalent", psnr_db=54.0,
    latency=ratio(0.8, 0.79, 0.81, "faster"), memory=ratio(1.1, 1.1, 1.1, "more"),
)  # fmt: skip
SMALL = replace(
    BASE, name="small", total_s=14.0, memory_gib=5.0, equality="exact", psnr_db=100.0,
    latency=ratio(1.4, 1.38, 1.42, "slower"), memory=ratio(0.25, 0.25, 0.25, "less"),
)  # fmt: skip
ROUGH = replace(FAST, name="rough", total_s=4.0, equality="different", psnr_db=23.0)


def said(*compared):
    return [told.sentence for told in advice(HERE, compared)]


def test_the_fastest_that_keeps_the_frames_is_named_with_what_it_costs():
    (told,) = advice(HERE, [BASE, FAST, SMALL])
    assert told.sentence == (
        "On card (no GPU): take memory=fast, 8 s a video (0.8 × the baseline's time) and 22 GiB of VRAM (+10 %), "
        "frames the same as the baseline's within rounding (54 dB); the fastest that keeps the frames."
    )
    assert told.least == (
        "Least memory takes memory=small: 14 s a video (1.4 × the baseline's time) and 5 GiB of VRAM (−75 %), "
        "frames the same as the baseline's to the bit."
    )


def test_one_that_is_faster_but_changes_the_frames_is_told_beside_it():
    (sentence,) = said(BASE, ROUGH)
    assert sentence.endswith(
        "take memory=baseline, 10 s a video and 20 GiB of VRAM; the fastest that keeps the frames; "
        "rough takes 4 s, frames that differ from the baseline's (23 dB at worst)."
    )


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (replace(FAST, latency=ratio(0.97, 0.9, 1.05, "no difference seen")), "baseline"),
        (replace(FAST, memory_gib=19.0, latency=ratio(0.97, 0.9, 1.05, "ambiguous")), "fast"),
        (replace(FAST, memory_gib=19.9, latency=ratio(0.97, 0.9, 1.05, "no difference seen")), "fast"),
    ],
)
def test_of_those_that_the_noise_does_not_tell_apart_the_smaller_is_taken(other, taken):
    (sentence,) = said(BASE, other)
    assert f"take memory={taken}," in sentence
    assert "; within the noise as fast: " in sentence


def test_two_that_overlap_against_the_baseline_are_as_fast():
    close = replace(
        FAST, name="close", total_s=8.1, memory_gib=12.0, latency=ratio(0.81, 0.805, 0.82, "faster")
    )
    (sentence,) = said(BASE, FAST, close)
    assert "take memory=close," in sentence
    assert sentence.endswith("; within the noise as fast: fast, with more memory.")


def test_too_few_runs_are_said():
    single = replace(FAST, latency=ratio(0.8, None, None, "not enough data"))
    assert "(0.8 × the baseline's time, of too few runs to be sure)" in said(BASE, single)[0]


def test_without_a_baseline_frames_are_compared_with_nothing():
    alone = [replace(s, equality=None, psnr_db=None, latency=made_up.NO_PAIR) for s in (FAST, SMALL)]
    (sentence,) = said(replace(BASE, statuses={"oom": 1}, total_s=None), *alone)
    assert "take memory=fast, 8 s a video and 22 GiB of VRAM" in sentence
    assert "the fastest of 2, no baseline having ended well to compare frames with" in sentence
    assert sentence.endswith("; not all jobs ended well of baseline.")


@pytest.mark.parametrize("status", ["defective", "oom", "failed"])
def test_what_did_not_end_well_is_never_taken(status):
    broken = replace(FAST, statuses={"ok": 3, status: 1})
    (sentence,) = said(BASE, broken)
    assert "take memory=baseline," in sentence
    assert sentence.endswith("; the only one of 2 that brought all of its jobs to a good end.")
    assert said(broken) == ["On card (no GPU): no strategy brought all of its jobs to a good end."]


def test_a_strategy_whose_frames_differ_though_it_only_moves_weights_is_not_taken_for_faithful():
    assert "take memory=baseline," in said(BASE, replace(FAST, faults=1))[0]


def test_where_there_is_nothing_to_choose_from_that_is_said():
    end = "10 s a video and 20 GiB of VRAM; there is nothing to compare it with."
    assert said(BASE) == [f"On card (no GPU): only one job ran with memory=baseline, {end}"]
    assert said(replace(BASE, statuses={"ok": 4})) == [
        f"On card (no GPU): only 4 jobs ran, all with memory=baseline, {end}"
    ]
    nothing = made_up.in_memory(Row(made_up.job(), "failed"))
    assert [told.sentence for told in advice(nothing, [])] == [
        "No job ended well, so there is nothing to recommend."
    ]


def test_each_machine_and_workload_has_its_sentence_and_of_many_the_rest_is_counted():
    many = [replace(s, machine=f"card {i}") for i in range(5) for s in (BASE, FAST)]
    sentences = said(*many)
    assert [s.partition(":")[0] for s in sentences[:3]] == [f"On card {i} (no GPU)" for i in range(3)]
    assert sentences[3:] == ["2 more workloads or machines stand in the table."]
    assert said(BASE, FAST, replace(BASE, workload="a long clip"))[1].startswith(
        "On card (no GPU), a long clip: "
    )


def test_a_card_is_named_with_its_memory_and_a_made_up_name_is_no_preset():
    card = replace(HERE, table=pd.DataFrame(HERE.table).assign(gpu_memory_gib=23.99))
    named = [replace(s, machine="NVIDIA RTX 4090") for s in (BASE, replace(FAST, name="a+b=2"))]
    (told,) = advice(card, named)
    assert told.sentence.startswith("On the NVIDIA RTX 4090 of 24 GiB: take the strategy a+b=2, 8 s")
