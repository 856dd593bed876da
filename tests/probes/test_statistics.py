"""Intervals that keep their promise, outliers that are flagged and kept, drift that is seen."""

import math
import random
import statistics

import pytest

from svdsweep.config import Measure
from svdsweep.probes.latency import wants_more
from svdsweep.probes.statistics import Summary, drift, median_interval, outliers, summarize, t_quantile


def test_quantiles_are_those_of_the_printed_tables() -> None:
    for degrees, value in ((2, 4.3027), (4, 2.7764), (9, 2.2622), (29, 2.0452)):
        assert t_quantile(degrees) == pytest.approx(value, abs=1e-4)


def test_too_few_values_have_no_interval() -> None:
    for values in ([2.0], [2.0, 2.1]):
        summary = summarize(values)
        assert (summary.low, summary.high, summary.half_width) == (None, None, None)


def test_three_values_have_one_about_their_geometric_mean() -> None:
    summary = summarize([1.0, 2.0, 32.0])
    assert (summary.minimum, summary.median, summary.maximum) == (1.0, 2.0, 32.0)
    assert summary.geometric_mean == pytest.approx(4.0)
    # to base 2 the logarithms are 0, 1 and 5, whose variance is 7
    half = 4.3027 * math.log(2) * math.sqrt(7 / 3)
    assert summary.low == pytest.approx(4 * math.exp(-half), rel=1e-4)
    assert summary.high == pytest.approx(4 * math.exp(half), rel=1e-4)


def test_a_value_that_is_not_positive_leaves_the_geometric_mean_empty() -> None:
    assert summarize([3.0, 0.0, 1.0]) == Summary(1.0, 0.0, 3.0, None, None, None, [])
    assert summarize([-1.0, 2.0]).geometric_mean is None


@pytest.mark.parametrize("n", [3, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    rng = random.Random(n)
    hits = 0
    for _ in range(2000):
        summary = summarize([math.exp(rng.gauss(0, 0.02)) for _ in range(n)])
        hits += summary.low <= 1 <= summary.high  # type: ignore[operator]
    assert 0.935 <= hits / 2000 <= 0.965


def test_the_medians_interval_is_that_of_order_statistics() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([6, 5, 4, 3, 2, 1]) == (1, 6)
    assert median_interval(list(range(1, 11))) == (2, 9)
    assert median_interval(list(range(1, 101))) == (40, 61)
    assert median_interval([2, 1], confidence=0.5) == (1, 2)


def test_the_medians_interval_covers_it() -> None:
    rng = random.Random(0)
    hits = 0
    for _ in range(2000):
        low, high = median_interval([rng.expovariate(1) for _ in range(8)])  # type: ignore[misc]
        hits += low <= math.log(2) <= high
    assert hits / 2000 >= 0.95


def test_outliers_are_flagged_and_not_dropped() -> None:
    values = [1.0, 1.01, 0.99, 1.02, 1.0, 9.0]
    assert outliers(values) == [5]
    summary = summarize(values)
    assert (summary.median, summary.minimum, summary.maximum, summary.outliers) == (1.005, 0.99, 9.0, [5])
    assert outliers([1.0, 1.01, 0.99, 1.02, 1.0]) == []
    assert outliers([1.0, 9.0]) == []


@pytest.mark.parametrize(
    ("values", "far"),
    [
        ([9.0, 1.0, 1.01], [0]),  # of three values by the median absolute deviation: 8 / 0.01
        ([0, 1, 2, 3, 9.0], []),  # quartiles 1 and 3: the outer fence is at 9
        ([0, 1, 2, 3, 9.1], [4]),  # though only 0.6745 × 7.1 deviations away
        ([-2, 1, 1, 1, 1.5, 2, 2, 2, 5], []),  # quartiles 1 and 2: the outer fences are at −2 and 5
        ([-2.1, 1, 1, 1, 1.5, 2, 2, 2, 5.1], [0, 8]),
        ([-1, -1, -1, -1, 0, 1, 10, 10, 30], [8]),  # inside the fence at 43, but 0.6745 × 30 deviations away
    ],
)
def test_outliers_lie_beyond_either_of_two_limits(values: list[float], far: list[int]) -> None:
    assert outliers(values) == far


def test_drift_is_the_rank_correlation_with_time() -> None:
    assert drift([1, 2, 3, 4, 5, 6]) == pytest.approx(1.0)
    assert drift([6, 5, 4, 3, 2, 1]) == pytest.approx(-1.0)
    assert drift([1.0] * 8) is None
    assert drift([1, 2, 3, 4, 5]) is None
    assert drift([1, 1, 2, 2, 3, 3]) == pytest.approx(0.956, abs=1e-3)
    values = [1, 1, 1, 2, 3, 2, 9, 2]
    ranks = [2, 2, 2, 5, 7, 5, 8, 5]
    assert drift(values) == pytest.approx(statistics.correlation(range(8), ranks))


def test_half_an_intervals_width_is_a_share_of_its_middle() -> None:
    assert Summary(5.0, 1.0, 9.0, 2.0, 1.0, 3.0, []).half_width == 0.5
    assert Summary(5.0, 1.0, 9.0, 2.0, 1.0, None, []).half_width is None


def test_an_interval_that_is_looked_at_until_it_is_narrow_keeps_the_degrees_of_freedom_of_the_first_look() -> (
    None
):
    values = [1.0, 1.1, 1.05, 1.2, 1.15]
    logs = [math.log(v) for v in values]
    error = statistics.stdev(logs) / math.sqrt(5)
    for first_look, degrees in ((None, 4), (3, 2), (1, 2), (4, 3), (9, 4)):
        summary = summarize(values, first_look)
        assert summary.low is not None
        assert summary.high is not None
        assert math.log(summary.high / summary.low) / 2 == pytest.approx(t_quantile(degrees) * error)


def test_such_an_interval_covers_95_percent() -> None:
    rng, how, covered = random.Random(0), Measure(repeats=3, within=0.02, repeats_limit=10), 0
    for _ in range(400):
        seconds: list[float] = []
        while wants_more(seconds, how):
            seconds.append(math.exp(rng.gauss(0, 0.03)))
        summary = summarize(seconds, how.first_look)
        assert summary.low is not None
        assert summary.high is not None
        covered += summary.low <= 1 <= summary.high
    assert covered / 400 >= 0.95 - 0.022  # two standard errors; 0.91 with the degrees of freedom of all runs
