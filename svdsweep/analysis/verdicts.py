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
from svdsweep.probes.throttling import MATTERS_PCT

Floats = NDArray[np.float64]
AMBIGUOUS = "ambiguous"
CHANGED = ("faster", "slower")
CLOCK = "sm_clock_mean_mhz"
"""The mean clock over a row's runs."""
EQUAL_CLOCKS = 0.01
"""Clocks closer than this share make no verdict doubtful."""
THROTTLED_PCT, THROTTLE = "throttled_pct", "throttle"
"""How much of a row's runs the driver held the clock down, and its reasons."""


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
    here, there = _throttled(mine), _throttled(base)
    if estimate.verdict not in CHANGED or here is None or there is None or bool(here) == bool(there):
        return ""
    return f"throttled on one side only ({'this' if here else 'the other'}: {here or there})"


def _throttled(side: pd.DataFrame) -> str | None:
    """How a side was throttled; empty for not worth a word, None where no driver told."""
    words = sorted({str(text) for text in side.get(THROTTLE, pd.Series(dtype=object)).dropna() if text})
    shares = numeric(side.get(THROTTLED_PCT, pd.Series(dtype=float))).dropna()
    if len(shares):
        share = float(shares.mean())
        reasons = ", ".join(words) or "unknown reason"
        return f"{reasons}, {share:.0f} % of the time" if share >= MATTERS_PCT else ""
    return ", ".join(words) if THROTTLE in side and side[THROTTLE].notna().any() else None


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
    if CLOCK not in mine or CLOCK not in base:
        return None
    here, there = (numeric(side[CLOCK]).to_numpy(float) for side in (mine, base))
    return (np.log(here), np.log(there)) if (here > 0).all() and (there > 0).all() else None


def _in_cycles(side: pd.DataFrame, log_clock: Floats) -> pd.DataFrame:
    """The table of a side with its times in clock cycles."""
    rounds = [
        {number: mean + log for number, mean in of_rounds.items()}
        for of_rounds, log in zip(side["log_total_s_of_rounds"], log_clock.tolist(), strict=True)
    ]
    shifted: pd.DataFrame = side.assign(log_total_s=side["log_total_s"] + log_clock)
    shifted["log_total_s_of_rounds"] = pd.Series(rounds, index=side.index, dtype=object)
    return shifted
