"""Is what is told of chance what chance does?"""

import random
import statistics

import pytest

from svdsweep.search.chance import chance

LUCK = random.Random(1)
ALL = [LUCK.gauss(30, 2) for _ in range(64)]
DRAWS = [LUCK.sample(ALL, 4) for _ in range(5_000)]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_random_draw_has_the_mean_spread_and_odds_that_are_told(sign):
    values = [sign * v for v in ALL]
    finalists = sorted(values, key=lambda v: -sign * v)[4:8]
    told = chance(finalists, values, [], 64, 20, sign > 0)
    means = [sign * statistics.fmean(draw) for draw in DRAWS]
    assert told.drawn_mean == pytest.approx(statistics.fmean(means), abs=0.06)  # four standard errors
    assert told.drawn_sd == pytest.approx(statistics.stdev(means), rel=0.05)
    as_good = statistics.fmean(sign * (m - told.mean) >= 0 for m in means)
    assert told.p == pytest.approx(as_good, abs=0.02)


def test_the_best_of_random_runs_are_what_is_told():
    best = [statistics.fmean(sorted(LUCK.sample(ALL, 20))[-4:]) for _ in range(2000)]
    told = chance(ALL[:4], ALL, [], 64, 20, True)
    assert told.random_best == pytest.approx(
        statistics.fmean(best), abs=0.25
    )  # 64 values are no whole normal


def test_a_sample_of_those_left_out_stands_for_all_of_them():
    order = sorted(ALL, reverse=True)
    known, left_out = order[:15], order[15:]
    told = chance(order[:4], known, left_out[::8], 64, 20, True)
    assert told.drawn_mean == pytest.approx(statistics.fmean(ALL), abs=0.3)  # seven stand for 49


def test_nothing_is_told_without_finalists_or_anything_to_compare_with():
    assert chance([], ALL, [], 64, 20, True) is None
    assert chance([1.0], [1.0], [], 64, 20, True) is None
