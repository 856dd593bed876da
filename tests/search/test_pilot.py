"""Does a pilot tell a rank correlation from none, as often as it says?"""

import random

import pytest

from svdsweep.search.ladder import pilot_of
from svdsweep.search.pilot import LEAST, agreement, carried_over


def test_the_interval_is_that_of_bonett_and_wright():
    few, full = range(12), [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    a = agreement(few, full)
    assert a.correlation == pytest.approx(1 - 6 * 12 / (12 * 143))  # Spearman's formula without ties
    # tanh(atanh(r) ± 1.96·sqrt((1 + r²/2) / 9)), by hand
    assert (a.low, a.high) == pytest.approx((0.812, 0.991), abs=1e-3)
    assert a.holds


@pytest.mark.parametrize("few", [[1.0] * 8, list(range(LEAST - 1))])
def test_nothing_is_told_of_equal_values_or_too_few(few):
    a = agreement(few, list(range(len(few))))
    assert a.correlation is None
    assert not a.holds


def test_seeds_ranked_the_other_way_round_do_not_prune():
    assert not agreement(range(12), range(12, 0, -1)).holds


def test_whoever_leads_the_pilot_chance_passes_it_no_more_often_than_the_interval_says():
    luck, passed = random.Random(0), 0
    for _ in range(400):
        few, full = ([luck.random() for _ in range(64)] for _ in range(2))
        pilot = pilot_of(sorted(range(64), key=lambda i: -few[i]), 12)
        passed += agreement([few[i] for i in pilot], [full[i] for i in pilot]).holds
    assert passed <= 23  # of a one-sided 2.5 %: 10 expected, their standard deviation is 3


def test_the_pilot_is_the_best_half_and_the_rest_evenly_down_to_the_last():
    order = list(range(100, 164))
    assert pilot_of(order, 12) == [*range(100, 106), 106, 117, 129, 140, 152, 163]
    assert pilot_of(order[:5], 12) == order[:5]


def test_values_are_carried_over_by_the_pilots_line():
    few = [0.0, 1, 2, 3, 4, 5, 6, 7]
    full = [2 * x + 1 + (0.1 if i % 2 else -0.1) for i, x in enumerate(few)]
    intercept, slope, deviation = carried_over(few, full)
    assert (intercept, slope, deviation) == pytest.approx((1, 2, 0.115), abs=0.1)
    assert carried_over(few, full[::-1]) is None
