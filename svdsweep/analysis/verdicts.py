"""What may be said of latencies together: sure of all strategies at once, and not of a GPU that changed under them."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from svdsweep.analysis.pairs import Estimate, Name, after_holm, compare_latency, p_value
from svdsweep.analysis.table import numeric

Floats = NDArray[np.float64]
AMBIGUOUS = "ambiguous"
CHANGED = ("faster", "slower")
CLOCK = ("sm_clock_mean_mhz", "sm_clock_mhz")
"""The clock over a row's runs; the first of these that both sides have."""
EQUAL_CLOCKS = 0.01
"""Clocks closer than this share make no verdict doubtful."""
THROTTLED_S = "throttled_s"
"""Seconds in which the driver held the clock down during a row's runs."""
TOUCHED = 0.01
"""Throttling for less than this share of a run is none."""


def judged(latencies: Mapping[Name, Estimate]) -> dict[Name, Estimate]:
    """The latencies of all strategies against one baseline, where a verdict stays only if it outlives Holm's correction
    for their number.

    Those that took turns in the same rounds share their error, as in a randomized complete block design (strategies
    and rounds, additive on the logarithm): three rounds alone would leave each strategy two degrees of freedom."""
    groups: dict[tuple[int, ...], list[Name]] = defaultdict(list)
    for name, estimate in latencies.items():
        if estimate.of_rounds:
            groups[tuple(estimate.of_rounds)].append(name)
    told = dict(latencies)
    for rounds, names in groups.items():
        ratios = np.array([[0.0] * len(rounds), *(list(latencies[n].of_rounds.values()) for n in names)])
        residuals = ratios - ratios.mean(1, keepdims=True) - ratios.mean(0) + ratios.mean()
        degrees = len(names) * (len(rounds) - 1)
        error = math.sqrt((residuals**2).sum() / degrees * 2 / len(rounds))
        for name, centre in zip(names, ratios[1:].mean(1).tolist(), strict=True):
            told[name] = replace(told[name], p=p_value(centre, error, degrees))
    return after_holm(told)


def confirmed(
    estimate: Estimate, mine: pd.DataFrame, base: pd.DataFrame, took_turns: bool = False
) -> Estimate:
    """The estimate of a latency over pairs, `ambiguous` where throttling touched one side only, or where clock cycles
    say something else than seconds; what no driver told makes nothing doubtful."""
    why = _throttled_on_one_side(estimate, mine, base) or _otherwise_in_cycles(
        estimate, mine, base, took_turns
    )
    return replace(estimate, verdict=AMBIGUOUS, why=why, needed=None) if why else estimate


def _throttled_on_one_side(estimate: Estimate, mine: pd.DataFrame, base: pd.DataFrame) -> str:
    if estimate.verdict not in CHANGED:
        return ""
    here, there = _throttled(mine), _throttled(base)
    if here is None or there is None or (here > TOUCHED) == (there > TOUCHED):
        return ""
    return f"throttled {here:.0%} of its time against {there:.0%}"


def _throttled(side: pd.DataFrame) -> float | None:
    """The share of the runs' time in which a side was throttled; None where no driver told."""
    if THROTTLED_S not in side:
        return None
    told = numeric(side[THROTTLED_S]).astype(float)
    ran_s = numeric(side["total_s"]).astype(float) * numeric(side["repeats"]).astype(float)
    return float(told.sum() / ran_s[told.notna()].sum()) if told.notna().any() else None


def _otherwise_in_cycles(estimate: Estimate, mine: pd.DataFrame, base: pd.DataFrame, took_turns: bool) -> str:
    clocks = _log_clocks(mine, base)
    if clocks is None or abs(float(np.mean(clocks[0] - clocks[1]))) <= EQUAL_CLOCKS:
        return ""
    cycles = compare_latency(_in_cycles(mine, clocks[0]), _in_cycles(base, clocks[1]), took_turns)
    if estimate.verdict == cycles.verdict or not {estimate.verdict, cycles.verdict} & {*CHANGED}:
        return ""
    clock = math.exp(float(np.mean(clocks[0] - clocks[1])))
    return (
        f"in clock cycles {cycles.verdict} ({cycles.value:.3g}×), for the clock was {clock:.3g}× the other's"
    )


def _log_clocks(mine: pd.DataFrame, base: pd.DataFrame) -> tuple[Floats, Floats] | None:
    """The logarithm of the clock of each line of both sides; None unless every line has one, of one kind of machine."""
    if len({*mine["machine"], *base["machine"]}) != 1:
        return None
    for name in CLOCK:
        if name in mine and name in base:
            here, there = (numeric(side[name]).to_numpy(float) for side in (mine, base))
            if (here > 0).all() and (there > 0).all():
                return np.log(here), np.log(there)
    return None


def _in_cycles(side: pd.DataFrame, log_clock: Floats) -> pd.DataFrame:
    """The table of a side with its times in clock cycles."""
    rounds = [
        {number: mean + log for number, mean in of_rounds.items()}
        for of_rounds, log in zip(side["log_total_s_of_rounds"], log_clock.tolist(), strict=True)
    ]
    shifted: pd.DataFrame = side.assign(log_total_s=side["log_total_s"] + log_clock)
    shifted["log_total_s_of_rounds"] = pd.Series(rounds, index=side.index, dtype=object)
    return shifted
