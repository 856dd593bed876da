"""Ratios and differences over pairs are those of scipy, and verdicts keep their promise on simulated data."""

import math
import random
import statistics

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdsweep.analysis.pairs import (
    NO_PAIR,
    Estimate,
    Times,
    after_holm,
    compare_latency,
    compare_metric,
    compare_peaks,
    holm,
    latency_ratio,
    mean_difference,
    memory_ratio,
    pairs_needed,
)

CASES = 400
CLOSE = {"rel": 1e-9}
"""Two roads to one figure in double precision."""


def single(mine: float, base: float) -> tuple[Times, Times]:
    return Times(math.log(mine), None, 1), Times(math.log(base), None, 1)


def runs(*seconds: float) -> Times:
    logs = [math.log(s) for s in seconds]
    return Times(statistics.fmean(logs), statistics.variance(logs) if len(logs) > 1 else None, len(logs))


def times(luck: random.Random, seconds: float, noise: float, repeats: int) -> Times:
    return runs(*(seconds * math.exp(luck.gauss(0, noise)) for _ in range(repeats)))


def share_of_verdicts(true_ratio: float, noise: float, pairs: int, repeats: int) -> float:
    """How often `faster` or `slower` is said."""
    luck = random.Random(0)
    said = 0
    for _ in range(CASES):
        drawn = [
            (times(luck, 10 * true_ratio, noise, repeats), times(luck, 10, noise, repeats))
            for _ in range(pairs)
        ]
        said += latency_ratio(drawn).verdict in ("faster", "slower")
    return said / CASES


@pytest.mark.parametrize(("pairs", "repeats"), [(1, 3), (2, 3), (3, 1)])
def test_without_a_difference_a_verdict_is_given_in_at_most_five_percent(pairs, repeats):
    # three standard errors of a share of 5 %
    assert share_of_verdicts(1.0, 0.2, pairs, repeats) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / CASES)


@pytest.mark.parametrize("true_ratio", [1.10, 1 / 1.10])
def test_ten_percent_are_found_with_five_repeats_and_three_seeds_at_the_noise_of_a_gpu(true_ratio):
    assert share_of_verdicts(true_ratio, 0.02, pairs=3, repeats=5) >= 0.9


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


@pytest.mark.parametrize("deviation", [0.001, 0.0395, 0.05, 0.17])
def test_the_pairs_needed_are_the_least_whose_quantiles_reach_ten_percent(deviation):
    def reach(n):
        return (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.9, n - 1)) * deviation / math.sqrt(n)

    assert pairs_needed(deviation) == next(n for n in range(3, 1000) if reach(n) <= math.log(1.1))


def test_who_would_need_a_thousand_pairs_is_not_told_a_number():
    assert pairs_needed(10.0) == 1000
    assert latency_ratio([single(10, 1), single(1, 10), single(10, 10)]).needed is None


def test_from_three_pairs_the_ratio_and_its_interval_are_those_of_students_t_on_the_log_ratios():
    mine, base = [13.0, 10.9, 12.0, 11.2], [10.0, 9.0, 11.5, 10.0]
    e = latency_ratio([single(a, b) for a, b in zip(mine, base, strict=True)])
    logs = np.log(mine) - np.log(base)
    test = stats.ttest_1samp(logs, 0)
    interval = test.confidence_interval(0.95)
    assert e.value == pytest.approx(stats.gmean(mine) / stats.gmean(base), **CLOSE)
    assert (e.low, e.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)), **CLOSE)
    assert e.p == pytest.approx(test.pvalue, **CLOSE)
    assert (e.n, e.verdict, e.method) == (4, "slower", "paired t on 4 log ratios")
    assert e.needed is None


def test_an_unsure_ratio_says_how_many_pairs_would_do_and_not_where_these_are_enough():
    unsure = latency_ratio([single(12, 10), single(9, 10), single(11, 10)])
    deviation = statistics.stdev([math.log(1.2), math.log(0.9), math.log(1.1)])
    assert (unsure.verdict, unsure.needed) == ("no difference seen", pairs_needed(deviation))
    assert unsure.needed > 3
    equal = latency_ratio([single(10.01, 10), single(9.99, 10), single(10, 10)])
    assert (equal.verdict, equal.needed) == ("no difference seen", None)


def test_one_pair_is_judged_by_welchs_t_on_its_repeats():
    mine, base = [8.0, 8.1, 8.3, 7.9], [10.0, 10.4, 9.8]
    e = latency_ratio([(runs(*mine), runs(*base))])
    test = stats.ttest_ind(np.log(mine), np.log(base), equal_var=False)
    error = (np.log(mine).mean() - np.log(base).mean()) / test.statistic
    half = stats.t.ppf(0.975, int(test.df)) * error
    assert e.value == pytest.approx(stats.gmean(mine) / stats.gmean(base), **CLOSE)
    assert (e.low, e.high) == pytest.approx((e.value * math.exp(-half), e.value * math.exp(half)), **CLOSE)
    assert e.p == pytest.approx(test.pvalue, **CLOSE)
    assert (e.n, e.verdict, e.method) == (4, "faster", "Welch's t on the logs of 4 repeats")
    assert e.needed is None


def test_two_pairs_halve_the_error_of_their_sum():
    pairs = [(runs(12, 13, 12.5), runs(10, 9.9, 10.3, 10.1)), (runs(11, 11.3, 12, 11.8), runs(10, 9.6, 10.2))]
    e = latency_ratio(pairs)
    parts = [(side.variance / side.n, side.n - 1) for pair in pairs for side in pair]
    error = math.sqrt(sum(v for v, _ in parts)) / 2
    degrees = sum(v for v, _ in parts) ** 2 / sum(v**2 / d for v, d in parts)  # Satterthwaite's
    assert math.log(e.high / e.low) / 2 == pytest.approx(stats.t.ppf(0.975, int(degrees)) * error, **CLOSE)
    assert e.p == pytest.approx(2 * stats.t.sf(math.log(e.value) / error, degrees), **CLOSE)
    assert (e.n, e.verdict) == (7, "slower")


def test_an_unsure_pair_alone_names_no_number_of_pairs():
    e = latency_ratio([(runs(10, 14, 9), runs(10, 8, 13))])
    assert (e.verdict, e.needed) == ("no difference seen", None)


@pytest.mark.parametrize("few", [(10,), (10, 11)])
def test_too_few_runs_give_a_value_without_an_interval(few):
    enough = (12, 12, 12)
    for pair in ((runs(*few), runs(*enough)), (runs(*enough), runs(*few))):
        e = latency_ratio([pair])
        assert e.value == pytest.approx(math.exp(pair[0].mean - pair[1].mean))
        assert (e.low, e.high, e.n, e.verdict) == (None, None, 1, "not enough data")
        assert e.method == "needs 3 pairs or 3 repeats"


def test_no_pair_is_no_ratio():
    assert latency_ratio([]) == memory_ratio([], []) == mean_difference([], "lower") == NO_PAIR
    assert Estimate(None, None, None, 0, "no pair to compare") == NO_PAIR


@pytest.mark.parametrize(
    ("seconds", "verdict", "p"), [(12.0, "slower", 0.0), (10.0, "no difference seen", 1.0)]
)
def test_runs_that_do_not_scatter_are_sure(seconds, verdict, p):
    e = latency_ratio([(Times(math.log(seconds), 0.0, 3), Times(math.log(10), 0.0, 3))])
    assert e.value == e.low == e.high == pytest.approx(seconds / 10)
    assert (e.verdict, e.p) == (verdict, p)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(10.19, "no difference seen"), (10.21, "slower"), (9.81, "no difference seen"), (9.79, "faster")],
)
def test_a_change_below_two_percent_is_not_worth_a_word_however_sure(seconds, verdict):
    assert (
        latency_ratio([(Times(math.log(seconds), 1e-9, 5), Times(math.log(10), 1e-9, 5))]).verdict == verdict
    )


def test_a_change_above_two_percent_wants_an_interval_beyond_one():
    assert latency_ratio([single(10.0, 10), single(10.1, 10), single(11, 10)]).verdict == "no difference seen"
    assert latency_ratio([single(10.0, 10), single(9.9, 10), single(9, 10)]).verdict == "no difference seen"


@pytest.mark.parametrize(
    ("mine", "verdict"),
    [
        ([8.0, 8.1], "less"),
        ([17.0, 17.0], "more"),
        ([8.0, 17.0], "no difference seen"),
        ([16 * 0.98, 16 * 0.985], "less"),
        ([16 * 1.015, 16 * 1.02], "more"),
        ([16 * 0.99, 16 * 0.99], "no difference seen"),
        ([16 * 1.01, 16 * 1.01], "no difference seen"),
    ],
)
def test_peaks_differ_where_their_whole_range_lies_beyond_one_percent(mine, verdict):
    assert memory_ratio(mine, [16.0, 16.0]).verdict == verdict


def test_the_ratio_of_peaks_is_the_median_with_its_range_and_an_empty_baseline_counts_for_nothing():
    expected = Estimate(2.0, 1.5, 8.0, 3, "more", "range over 3 pairs")
    assert memory_ratio([1.0, 3.0, 2.0, 5.0], [0.5, 2.0, 0.25, 0.0]) == expected


def test_a_mean_difference_and_its_interval_are_those_of_students_t():
    gaps = [0.5, -0.1, 0.9]
    e = mean_difference(gaps, "higher")
    test = stats.ttest_1samp(gaps, 0)
    assert e.value == pytest.approx(np.mean(gaps), **CLOSE)
    assert (e.low, e.high) == pytest.approx(tuple(test.confidence_interval(0.95)), **CLOSE)
    assert e.p == pytest.approx(test.pvalue, **CLOSE)
    assert (e.n, e.verdict, e.method) == (3, "no difference seen", "paired t on 3 (image, seed)")


@pytest.mark.parametrize(
    ("better", "rise", "fall"),
    [("higher", "better", "worse"), ("lower", "worse", "better"), (None, "higher", "lower")],
)
def test_a_sure_difference_says_better_by_the_metrics_merit(better, rise, fall):
    gaps = [0.5, 0.52, 0.48, 0.51]
    assert mean_difference(gaps, better).verdict == rise
    assert mean_difference([-gap for gap in gaps], better).verdict == fall


def test_pairs_without_scatter_are_equal_or_sure_and_two_pairs_are_neither():
    expected = Estimate(0.0, 0.0, 0.0, 2, "equal", "every pair is equal", 1.0)
    assert mean_difference([0.0, 0.0], "lower") == expected
    steady = mean_difference([0.5] * 3, "lower")
    assert (steady.low, steady.value, steady.high, steady.verdict, steady.p) == (0.5, 0.5, 0.5, "worse", 0.0)
    needs = "needs 3 pairs of image and seed, has 2"
    assert mean_difference([0.5, 0.0], "lower") == Estimate(0.25, None, None, 2, "not enough data", needs)


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def counted(*repeats: int) -> dict[str, list[object]]:
    """How many runs each line has, none of them in rounds."""
    degrees = [max(n - 1, 0) for n in repeats]
    return {
        "log_total_s_n": [*repeats],
        "log_total_s_degrees": degrees,
        "log_total_s_of_rounds": [{}] * len(degrees),
    }


def test_latencies_are_compared_line_by_line_where_both_sides_were_timed():
    log = math.log
    mine = table(
        log_total_s=[log(12), None, log(11), log(13), log(10)],
        log_total_s_variance=[0.01, None, None, 0.02, 0.01],
        **counted(5, 0, 1, 5, 3),
    )
    base = table(
        log_total_s=[log(10), log(10), log(10), None, log(8)],
        log_total_s_variance=[0.01, 0.01, 0.01, None, 0.02],
        **counted(5, 5, 5, 0, 3),
    )
    assert compare_latency(mine, base) == latency_ratio([single(12, 10), single(11, 10), single(10, 8)])
    last = compare_latency(mine[4:], base[4:])
    assert last == latency_ratio([(Times(log(10), 0.01, 3), Times(log(8), 0.02, 3))])
    assert compare_latency(mine[:0], base[:0]) == NO_PAIR


def cases(**columns) -> pd.DataFrame:
    return table(image=["a", "a", "b", "b"], seed=[1, 1, 1, 2], **columns)


def test_peaks_are_compared_by_the_first_column_that_both_sides_have():
    mine = cases(first=[1.0, 1, 1, 1], second=[None, None, None, 3.0], third=[4.0, 4, "none", None])
    base = cases(second=[2.0, 2.0, 2.0, None], third=[2.0, 2.5, 2.0, 2.0])
    assert compare_peaks(mine, base, ["first", "second", "third"]) == memory_ratio([4.0, 4.0], [2.0, 2.5])
    assert compare_peaks(mine, base, ["first", "second", "absent"]) == NO_PAIR


def test_a_metric_is_averaged_within_each_image_and_seed_before_it_is_compared():
    mine = cases(warp_psnr_db=[30.0, 32, 33, 34])
    base = cases(warp_psnr_db=[29.0, 29, 31, 31])
    assert compare_metric(mine, base, "warp_psnr_db") == mean_difference([2.0, 2.0, 3.0], "higher")
    assert compare_metric(mine, base, "warp_psnr_db").verdict == "better"
    lost = cases(warp_psnr_db=[30.0, None, "word", 34])
    assert compare_metric(lost, base, "warp_psnr_db") == mean_difference([1.0, 3.0], "higher")


def test_holm_corrects_step_by_step():
    assert holm([0.01, 0.04, 0.03, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_difference_keeps_its_verdict_if_it_outlives_the_correction_for_those_that_were_tested():
    def tested(verdict, p):
        return Estimate(1.0, 0.9, 1.1, 9, verdict, "a test", p, 7)

    family = {
        "equal": tested("equal", 1.0),
        "untested": tested("not enough data", None),
        "sure": tested("worse", 0.025),
        "at the bound": tested("better", 0.05),
    }
    assert after_holm(family) == family
    unsure = tested("no difference seen", 0.03)
    assert after_holm({**family, "one more": tested("higher", 0.03)}) == {
        **family,
        "sure": tested("no difference seen", 0.025),
        "at the bound": tested("no difference seen", 0.05),
        "one more": unsure,
    }
