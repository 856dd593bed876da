"""The order of rounds: a machine that changes while a rigorous sweep runs makes no strategy look slower."""

from itertools import pairwise

import pytest
import turns

from svdsweep.analysis.verdicts import CHANGED
from svdsweep.runner.rounds import turn

KEYS = [f"{n:012x}" for n in range(9)]


def order(seed: int, number: int, first: str = "") -> list[str]:
    return sorted(KEYS, key=lambda key: turn(seed, number, key, key == first))


def test_every_round_has_an_order_of_its_own_that_the_seed_tells():
    rounds = [order(5, number) for number in range(1, 7)]
    assert rounds == [order(5, number) for number in range(1, 7)]
    assert all(one != other for one, other in pairwise(rounds))
    assert order(6, 1) != rounds[0]


def test_every_second_round_is_the_mirror_image_of_the_one_before():
    for number in (1, 3, 5):
        assert order(5, number + 1) == order(5, number)[::-1]


def test_baselines_begin_the_first_round_and_end_the_second_and_have_no_place_of_their_own_after():
    assert {(order(seed, 1, KEYS[4])[0], order(seed, 2, KEYS[4])[-1]) for seed in range(9)} == {
        (KEYS[4],) * 2
    }
    assert order(5, 1, KEYS[4])[1:] == [key for key in order(5, 1) if key != KEYS[4]]
    assert order(5, 3, KEYS[4]) == order(5, 3)


def test_each_strategy_is_as_often_early_as_late():
    places = [order(seed, 1).index(KEYS[0]) for seed in range(400)]
    assert sum(places) / 400 == pytest.approx(4, abs=0.39)  # three standard errors


def false_alarms(count: int, rule: turns.Order, sweeps: int) -> float:
    """The share of sweeps on a machine that slows down by a fifth, of strategies that are equal, with a verdict."""
    told = [turns.rigorous(seed, turns.slowing, rule, count, noise=0.003) for seed in range(sweeps)]
    return sum(any(s.latency.verdict in CHANGED for s in sweep) for sweep in told) / sweeps


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_machine_that_slows_down_by_a_fifth_makes_no_equal_strategy_slower(count):
    assert false_alarms(count, turns.fixed, sweeps=4) == 1.0
    assert false_alarms(count, turns.drawn, sweeps=20) <= 0.05  # none of 2,000


@pytest.mark.slow
def test_two_strategies_would_be_told_apart_in_a_quarter_of_such_sweeps_if_each_round_were_drawn_alone():
    assert 0.1 <= false_alarms(2, turns.each_alone, sweeps=20) <= 0.5  # 0.28 of 100
