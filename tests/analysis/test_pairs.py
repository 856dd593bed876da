"""Verdicts keep their promise on simulated data: rarely a false one, seldom a missed one."""

import math
import random
import statistics

import pytest

from svdsweep.analysis.pairs import (
    Estimate,
    Times,
    after_holm,
    latency_ratio,
    mean_difference,
    memory_ratio,
    pairs_needed,
)

CASES = 1000


def times(luck: random.Random, seconds: float, noise: float, repeats: int) -> Times:
    logs = [math.log(seconds) + luck.gauss(0, noise) for _ in range(repeats)]
    return Times(statistics.fmean(logs), statistics.variance(logs) if repeats > 1 else None, repeats)


def share_of_verdicts(true_ratio: float, noise: float, pairs: int, repeats: int, seed: int = 0) -> float:
    """How often `faster` or `slower` is said."""
    luck = random.Random(seed)
    said = 0
    for _ in range(CASES):
        found = latency_ratio(
            [
                (times(luck, 10 * true_ratio, noise, repeats), times(luck, 10, noise, repeats))
                for _ in range(pairs)
            ]
        )
        said += found.verdict in ("faster", "slower")
    return said / CASES


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
@pytest.mark.parametrize(("pairs", "repeats"), [(1, 3), (1, 5), (2, 3), (3, 1), (3, 5), (6, 3)])
def test_without_a_difference_a_verdict_is_given_in_at_most_five_percent(noise, pairs, repeats):
    # three standard errors of a share of 5 % in 1,000 cases
    assert share_of_verdicts(1.0, noise, pairs, repeats) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / CASES)


@pytest.mark.parametrize("noise", [0.01, 0.02])
@pytest.mark.parametrize("true_ratio", [1.10, 1 / 1.10])
def test_ten_percent_are_found_with_five_repeats_and_three_seeds_at_the_noise_of_a_gpu(noise, true_ratio):
    assert share_of_verdicts(true_ratio, noise, pairs=3, repeats=5) >= 0.9


def test_where_noise_hides_ten_percent_the_pairs_that_would_show_it_are_named_and_do():
    luck = random.Random(1)
    deviation = 0.12
    needed = pairs_needed(deviation * math.sqrt(2))
    found = [
        latency_ratio(
            [(times(luck, 11.0, deviation, 1), times(luck, 10.0, deviation, 1)) for _ in range(needed)]
        ).verdict
        for _ in range(CASES)
    ]
    assert found.count("slower") / CASES >= 0.87
    unsure = latency_ratio([(times(luck, 10, 0.3, 5), times(luck, 10, 0.3, 5)) for _ in range(3)])
    assert unsure.verdict == "no difference seen"
    assert unsure.needed is not None
    assert unsure.needed > 3


def test_intervals_hold_the_truth_in_about_95_percent():
    luck = random.Random(2)
    held = 0
    for _ in range(CASES):
        e = latency_ratio([(times(luck, 8, 0.05, 3), times(luck, 10, 0.05, 3)) for _ in range(4)])
        held += e.low <= 0.8 <= e.high
    assert 0.93 <= held / CASES <= 0.97


def test_too_few_runs_give_a_value_without_an_interval():
    e = latency_ratio([(Times(math.log(12), None, 1), Times(math.log(10), None, 1))])
    assert e.value == pytest.approx(1.2)
    assert (e.low, e.high, e.verdict) == (None, None, "not enough data")
    assert latency_ratio([]).value is None


def test_a_change_below_two_percent_is_not_worth_a_word_however_sure():
    pairs = [(Times(math.log(10.1), 1e-9, 5), Times(math.log(10), 1e-9, 5))]
    assert latency_ratio(pairs).verdict == "no difference seen"


def test_memory_is_compared_by_its_range():
    assert memory_ratio([8, 8.1], [16, 16]).verdict == "less"
    assert memory_ratio([17, 17], [16, 16]).verdict == "more"
    assert memory_ratio([8, 17], [16, 16]).verdict == "no difference seen"
    assert memory_ratio([], []).value is None


def test_differences_say_better_by_the_metrics_merit():
    gaps = [0.5, 0.52, 0.48, 0.51]
    assert mean_difference(gaps, "higher").verdict == "better"
    assert mean_difference(gaps, "lower").verdict == "worse"
    assert mean_difference(gaps, None).verdict == "higher"
    assert mean_difference([0.0, 0.0], "lower").verdict == "equal"
    assert mean_difference([0.5, 0.5], "lower").verdict == "not enough data"


def test_holm_keeps_the_family_of_metrics_at_five_percent():
    luck = random.Random(3)
    false = 0
    for _ in range(CASES):
        family = {str(i): mean_difference([luck.gauss(0, 1) for _ in range(5)], "lower") for i in range(20)}
        false += any(e.verdict in ("better", "worse") for e in after_holm(family).values())
    assert false / CASES <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / CASES)
    sure = {
        "a": Estimate(1.0, 0.9, 1.1, 9, "worse", p=1e-6),
        "b": Estimate(0.1, -1, 1, 9, "no difference seen", p=0.8),
    }
    assert after_holm(sure)["a"].verdict == "worse"
