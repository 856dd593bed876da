"""Verdicts on latencies keep their error rate over all strategies and with the stopping rule inside, find what they
found, and are ambiguous where the GPU changed under them."""

import math
from typing import Any

import made_up
import numpy as np
import pandas as pd
import pytest
import turns
from scipy import stats

from svdsweep.analysis.pairs import NO_PAIR, UNSEEN, Estimate, compare_latency, holm
from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.table import comparison
from svdsweep.analysis.verdicts import AMBIGUOUS, CHANGED, confirmed, judged
from svdsweep.config import Measure

ONE_ROUND = Measure(repeats=3, within=0.02, repeats_limit=10)


def false_alarms(sweeps: int, **machine: Any) -> float:
    """The share of sweeps of equal strategies in which any gets a verdict."""
    told = [turns.rigorous(seed, **machine) for seed in range(sweeps)]
    return sum(any(s.latency.verdict in CHANGED for s in sweep) for sweep in told) / sweeps


@pytest.mark.parametrize(
    "machine",
    [
        pytest.param({"noise": 0.02}, marks=pytest.mark.slow),
        {"noise": 0.005, "between": 0.03},
        pytest.param({"noise": 0.025, "measure": ONE_ROUND}, marks=pytest.mark.slow),
    ],
    ids=["noise of runs", "noise of turns", "one round"],
)
def test_equal_strategies_get_a_verdict_in_at_most_five_percent_of_sweeps(machine):
    assert false_alarms(25, **machine) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 25)


@pytest.mark.slow
@pytest.mark.by_hand
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [2, 5, 9])
@pytest.mark.parametrize("noise", [0.003, 0.02, 0.05])
@pytest.mark.parametrize("between", [0.0, 0.03])
@pytest.mark.parametrize("rounds", [1, 3])
def test_equal_strategies_get_a_verdict_in_at_most_five_percent_of_2000_sweeps(count, noise, between, rounds):
    measure = Measure(repeats=3, within=0.02, repeats_limit=10, rounds=rounds)
    if rounds == 1 and between:
        pytest.skip("what a turn does to all of its runs, one round cannot tell from the strategy")
    share = false_alarms(2000, count=count, noise=noise, between=between, measure=measure)
    print(f"{count} strategies, noise {noise}, between turns {between}, {rounds} rounds: {share:.4f}")
    assert share <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize("ratio", [1.1, pytest.param(1 / 1.1, marks=pytest.mark.slow)])
def test_ten_percent_are_found_among_nine_strategies_at_the_noise_of_a_gpu(ratio):
    found = [turns.rigorous(seed, count=9, noise=0.01, between=0.005, ratios={3: ratio}) for seed in range(6)]
    told = [s.latency.verdict for sweep in found for s in sweep if s.name == "strategy 3"]
    assert told.count("slower" if ratio > 1 else "faster") >= 5


def rounds_of(*logs: float) -> Estimate:
    """A ratio of turns, as `compare_latency` makes it."""
    test = stats.ttest_1samp(logs, 0)
    low, high = test.confidence_interval(0.95)
    sure = low > 0 or high < 0
    verdict = ("slower" if low > 0 else "faster") if sure else UNSEEN
    ratio = (math.exp(x) for x in (np.mean(logs), low, high))
    return Estimate(*ratio, len(logs), verdict, "", float(test.pvalue), None, dict(enumerate(logs, 1)))


def test_strategies_that_took_turns_share_their_error_as_blocks_of_a_design():
    logs = {"a": (0.05, 0.06, 0.055), "b": (0.001, 0.012, 0.004), "c": (-0.02, -0.028, -0.017)}
    told = judged({name: rounds_of(*each) for name, each in logs.items()})
    table = np.array([(0.0, 0.0, 0.0), *logs.values()])
    fitted = table.mean(1, keepdims=True) + table.mean(0) - table.mean()
    degrees = 3 * 2
    error = math.sqrt(((table - fitted) ** 2).sum() / degrees * 2 / 3)
    expected = [2 * stats.t.sf(abs(np.mean(each)) / error, degrees) for each in logs.values()]
    assert [e.p for e in told.values()] == pytest.approx(expected)
    assert [e.verdict for e in told.values()] == ["slower", UNSEEN, "faster"]


def test_one_strategy_alone_is_judged_by_its_own_turns():
    alone = rounds_of(0.05, 0.06, 0.04)
    assert judged({"a": alone})["a"].p == pytest.approx(alone.p)


def test_a_verdict_that_does_not_outlive_the_number_of_strategies_is_taken_back():
    family = {n: Estimate(1.1, 1.01, 1.2, 9, "slower", p=p) for n, p in enumerate([0.001, 0.02, 0.04])}
    family[3] = NO_PAIR
    assert [e.verdict for e in judged(family).values()] == ["slower", "slower", "slower", NO_PAIR.verdict]
    family[4] = Estimate(1.0, 0.9, 1.1, 9, UNSEEN, p=0.9)
    assert holm([0.001, 0.02, 0.04, 0.9])[1] > 0.05
    assert [e.verdict for e in judged(family).values()] == ["slower", UNSEEN, UNSEEN, NO_PAIR.verdict, UNSEEN]


def side(seconds: float, **values: Any) -> pd.DataFrame:
    runs = [seconds, seconds * 1.002, seconds * 0.998]
    rows = [
        made_up.ok(made_up.job(seed=seed), [s * (1 + seed / 1000) for s in runs], **values)
        for seed in range(3)
    ]
    return comparison(rows)


def told(mine: pd.DataFrame, base: pd.DataFrame) -> Estimate:
    return confirmed(compare_latency(mine, base), mine, base)


def test_what_no_driver_told_makes_no_verdict_ambiguous():
    assert told(side(11), side(10)).verdict == "slower"
    assert told(side(11, sm_clock_mean_mhz=1980.0), side(10)).verdict == "slower"
    assert told(side(11, throttled_pct=40.0, throttle="thermal"), side(10)).verdict == "slower"
    assert confirmed(NO_PAIR, side(1)[:0], side(1)[:0]) == NO_PAIR


def test_a_strategy_that_is_slower_only_in_seconds_is_ambiguous_and_says_why():
    mine, base = side(11, sm_clock_mean_mhz=1800.0), side(10, sm_clock_mean_mhz=1980.0)
    found = told(mine, base)
    assert found.verdict == AMBIGUOUS
    assert found.why == f"in clock cycles {UNSEEN} (1×), for the clock was 0.909× the other's"
    assert (found.value, found.low) == (pytest.approx(1.1), pytest.approx(1.1, rel=0.01))


def test_a_difference_that_the_clock_hides_is_ambiguous_too():
    found = told(side(10, sm_clock_mean_mhz=1980.0), side(10, sm_clock_mean_mhz=1800.0))
    assert (found.verdict, found.why[:22]) == (AMBIGUOUS, "in clock cycles slower")


@pytest.mark.parametrize(
    "clocks", [(1980.0, 1970.0), (1980.0, 1900.0)], ids=["equal clocks", "the same verdict"]
)
def test_a_verdict_that_cycles_confirm_stays(clocks):
    mine, base = (side(s, sm_clock_mean_mhz=mhz) for s, mhz in zip((12, 10), clocks, strict=True))
    assert told(mine, base).verdict == "slower"


def test_cycles_of_two_kinds_of_machine_are_not_compared():
    mine, base = side(11, sm_clock_mean_mhz=1000.0), side(10, sm_clock_mean_mhz=1980.0)
    assert told(mine.assign(machine="another"), base).verdict == "slower"


@pytest.mark.parametrize(
    ("here", "there", "verdict"),
    [
        ({"throttled_pct": 30.0, "throttle": "thermal"}, {"throttled_pct": 0.0, "throttle": ""}, AMBIGUOUS),
        ({"throttled_pct": 0.0, "throttle": ""}, {"throttled_pct": 30.0, "throttle": "power cap"}, AMBIGUOUS),
        ({"throttled_pct": 1.0, "throttle": "power cap"}, {"throttled_pct": 0.0, "throttle": ""}, "slower"),
        (
            {"throttled_pct": 30.0, "throttle": "thermal"},
            {"throttled_pct": 25.0, "throttle": "thermal"},
            "slower",
        ),
        ({"throttle": "thermal"}, {"throttle": ""}, AMBIGUOUS),
        ({"throttle": ""}, {"throttle": ""}, "slower"),
    ],
)
def test_throttling_of_one_side_makes_a_verdict_ambiguous(here, there, verdict):
    found = told(side(11, **here), side(10, **there))
    assert found.verdict == verdict
    assert (f"({'this' if here.get('throttle') else 'the other'}: " in found.why) is (verdict == AMBIGUOUS)


def test_throttling_takes_nothing_from_what_shows_no_difference():
    assert told(side(10, throttle="thermal"), side(10, throttle="")).verdict == UNSEEN


def test_a_strategy_that_was_throttled_in_its_sweep_is_told_as_ambiguous():
    base = [made_up.job(seed=seed) for seed in range(3)]
    hot = [made_up.job(made_up.STRATEGIES["compile"], seed=seed) for seed in range(3)]
    rows = [made_up.ok(job, [10.0, 10.1, 9.9], throttle="", throttled_pct=0.0) for job in base]
    rows += [made_up.ok(job, [12.0, 12.2, 11.9], throttle="thermal", throttled_pct=50.0) for job in hot]
    (_, found) = strategies(made_up.in_memory(*rows))
    assert (found.latency.verdict, found.latency.why) == (
        AMBIGUOUS,
        "throttled on one side only (this: thermal, 50 % of the time)",
    )
