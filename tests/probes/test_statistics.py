"""Intervals that keep their promise, outliers that are flagged and kept, drift that is seen."""

import math
import random

import pytest

from svdsweep.probes.statistics import drift, median_interval, outliers, summarize, t_quantile


def test_quantiles_are_those_of_the_printed_tables() -> None:
    for degrees, value in ((2, 4.3027), (4, 2.7764), (9, 2.2622), (29, 2.0452)):
        assert t_quantile(degrees) == pytest.approx(value, abs=1e-4)


def test_too_few_values_have_no_interval() -> None:
    for values in ([2.0], [2.0, 2.1]):
        summary = summarize(values)
        assert (summary.low, summary.high, summary.half_width) == (None, None, None)


def test_three_values_have_one_about_their_geometric_mean() -> None:
    summary = summarize([1.0, 2.0, 4.0])
    assert summary.geometric_mean == pytest.approx(2.0)
    half = 4.3027 * math.log(2) / math.sqrt(3)
    assert summary.low == pytest.approx(2 * math.exp(-half), rel=1e-4)
    assert summary.high == pytest.approx(2 * math.exp(half), rel=1e-4)


def covered(n: int, outlier_share: float = 0.0, trials: int = 2000) -> float:
    rng = random.Random(n)
    hits = 0
    for _ in range(trials):
        values = [math.exp(rng.gauss(0, 0.02)) for _ in range(n)]
        values = [v * (1.1 if rng.random() < outlier_share else 1) for v in values]
        summary = summarize(values)
        truth = 1.1**outlier_share
        hits += summary.low is not None and summary.low <= truth <= summary.high  # type: ignore[operator]
    return hits / trials


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    assert 0.935 <= covered(n) <= 0.965


def test_the_medians_interval_is_that_of_order_statistics() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([6, 5, 4, 3, 2, 1]) == (1, 6)
    assert median_interval(list(range(1, 11))) == (2, 9)


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
    assert summarize(values).maximum == 9.0
    assert outliers([1.0, 1.01, 0.99, 1.02, 1.0]) == []
    assert outliers([1.0, 9.0]) == []


def test_drift_is_the_rank_correlation_with_time() -> None:
    assert drift([1, 2, 3, 4, 5, 6]) == pytest.approx(1.0)
    assert drift([6, 5, 4, 3, 2, 1]) == pytest.approx(-1.0)
    assert drift([1.0] * 8) is None
    assert drift([1, 2, 3]) is None
    assert drift([1, 1, 2, 2, 3, 3]) == pytest.approx(0.956, abs=1e-3)
