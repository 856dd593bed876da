"""Two settings compared: ratios and differences over pairs, with intervals and a plain verdict. No torch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pandas as pd

from svdsweep.analysis.table import numeric
from svdsweep.metrics import COLUMNS
from svdsweep.probes.statistics import t_quantile

Name = TypeVar("Name")
LEAST = 3
"""Fewer values than this have no interval."""
MATTERS = 0.02
"""A smaller change of a latency is not worth a word, however sure."""
MANY = 1000
"""Nobody runs so many pairs."""
WORTH_FINDING = 0.10
"""The change for which it is said how many pairs would be needed."""
SIGNIFICANT = 0.05
"""The chance of a false difference that a family of metrics is allowed."""
UNSEEN = "no difference seen"


@dataclass(frozen=True)
class Estimate:
    """A ratio (1: equal) or a difference (0: equal) with its 95 % interval, over `n` pairs or repeats."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    verdict: str
    method: str = ""
    p: float | None = None
    """The chance of so large a difference, to either side, where there is none."""
    needed: int | None = None
    """Pairs with which a change of `WORTH_FINDING` would be found in 9 of 10 cases, where the interval is too wide."""
    of_rounds: Mapping[int, float] = field(default_factory=dict)
    """The logarithm of the ratio in each round, where both sides took turns."""
    why: str = ""
    """Why it is ambiguous."""


NO_PAIR = Estimate(None, None, None, 0, "no pair to compare")


@dataclass(frozen=True)
class Times:
    """The timed runs of one job on the logarithm: mean, variance (None below two runs), their number, the degrees of
    freedom of the variance where they are not `n - 1`, and the mean of each round."""

    mean: float
    variance: float | None
    n: int
    degrees: int | None = None
    rounds: Mapping[int, float] = field(default_factory=dict)


def compare_latency(mine: pd.DataFrame, base: pd.DataFrame, took_turns: bool = False) -> Estimate:
    """`latency_ratio` of two tables of a sweep whose lines are pairs; pairs with an untimed side are left out."""
    sides = zip(_times(mine), _times(base), strict=True)
    pairs = [(one, other) for one, other in sides if one is not None and other is not None]
    return latency_ratio(pairs, took_turns)


def compare_peaks(mine: pd.DataFrame, base: pd.DataFrame, columns: Sequence[str]) -> Estimate:
    """`memory_ratio` of the first of some columns that both sides of a pair have."""
    for name in columns:
        if name in mine and name in base and len(both := _both(mine, base, name)):
            return memory_ratio(both["mine"].tolist(), both["base"].tolist())
    return NO_PAIR


def compare_metric(mine: pd.DataFrame, base: pd.DataFrame, name: str) -> Estimate:
    """`mean_difference` of a metric: first within each (image, seed), whose other settings are no independent cases."""
    both = _both(mine, base, name)
    gaps = (both["mine"] - both["base"]).groupby([both["image"], both["seed"]]).mean()
    return mean_difference(gaps.tolist(), COLUMNS[name].better)


def _both(mine: pd.DataFrame, base: pd.DataFrame, name: str) -> pd.DataFrame:
    """A column of both sides as numbers, with the image and the seed; pairs without both numbers are left out."""
    cases = {"image": mine["image"].astype(str).to_numpy(), "seed": mine["seed"].to_numpy()}
    numbers = {side: numeric(t[name]).to_numpy(float) for side, t in (("mine", mine), ("base", base))}
    return pd.DataFrame({**numbers, **cases}).dropna()


def _times(table: pd.DataFrame) -> list[Times | None]:
    """The timed runs of each line of a table; None where there are none."""
    timed = table[[f"log_total_s{part}" for part in ("", "_variance", "_n", "_degrees")]].astype(float)
    lines = timed.astype(object).where(timed.notna(), None).to_numpy().tolist()
    return [
        None if mean is None else Times(mean, variance, int(n), int(degrees), rounds)
        for (mean, variance, n, degrees), rounds in zip(lines, table["log_total_s_of_rounds"], strict=True)
    ]


def latency_ratio(pairs: Sequence[tuple[Times, Times]], took_turns: bool = False) -> Estimate:
    """Ratio of a strategy's geometric mean time to its baseline's, over (strategy, baseline) pairs of equal generation
    settings: from 3 pairs Student's t on their log ratios, below that Welch's on the logs of the raw repeats.

    Where both sides `took_turns` in 3 or more rounds of a sweep it is Student's t on the rounds' log ratios, for all
    that ran in one turn shares a state of the machine."""
    if not pairs:
        return NO_PAIR
    rounds = _of_rounds(pairs) if took_turns else {}
    logs = list(rounds.values()) or [mine.mean - base.mean for mine, base in pairs]
    centre, n = statistics.fmean(logs), len(logs)
    if (spread := _spread(logs, pairs)) is None:
        needs = f"needs {LEAST} pairs or {LEAST} repeats"
        return Estimate(math.exp(centre), None, None, n, "not enough data", needs)
    error, degrees = spread
    half = t_quantile(int(degrees)) * error
    low, high = math.exp(centre - half), math.exp(centre + half)
    verdict = _faster_or_slower(math.exp(centre), low, high)
    p = p_value(centre, error, degrees)
    if n < LEAST:
        n = sum(mine.n for mine, _ in pairs)
        return Estimate(math.exp(centre), low, high, n, verdict, f"Welch's t on the logs of {n} repeats", p)
    if rounds:
        return Estimate(
            math.exp(centre), low, high, n, verdict, f"paired t on {n} rounds", p, of_rounds=rounds
        )
    enough = pairs_needed(error * math.sqrt(n)) if verdict == UNSEEN else MANY
    needed = enough if n < enough < MANY else None
    return Estimate(math.exp(centre), low, high, n, verdict, f"paired t on {n} log ratios", p, needed)


def _faster_or_slower(ratio: float, low: float, high: float) -> str:
    if low <= 1 <= high or abs(ratio - 1) <= MATTERS:
        return UNSEEN
    return "faster" if ratio < 1 else "slower"


def _spread(logs: Sequence[float], pairs: Sequence[tuple[Times, Times]]) -> tuple[float, float] | None:
    """Standard error of the mean of `logs`, of fewer than 3 by the repeats of the pairs, with degrees of freedom; None
    with too few repeats."""
    if len(logs) < LEAST:
        return _welch(pairs)
    return statistics.stdev(logs) / math.sqrt(len(logs)), float(len(logs) - 1)


def _of_rounds(pairs: Sequence[tuple[Times, Times]]) -> dict[int, float]:
    """The mean log ratio of the pairs in each round that all sides have; none below 3 rounds."""
    common = set.intersection(*(set(side.rounds) for pair in pairs for side in pair))
    if len(common) < LEAST:
        return {}
    return {
        n: statistics.fmean(mine.rounds[n] - base.rounds[n] for mine, base in pairs) for n in sorted(common)
    }


def _welch(pairs: Sequence[tuple[Times, Times]]) -> tuple[float, float] | None:
    """Standard error of the mean log ratio and its degrees of freedom; None with too few repeats."""
    sides = [side for pair in pairs for side in pair]
    parts = [
        (s.variance / s.n, s.degrees or s.n - 1) for s in sides if s.variance is not None and s.n >= LEAST
    ]
    if len(parts) < len(sides):
        return None
    total = sum(v for v, _ in parts)
    if not total:
        return 0.0, float(min(d for _, d in parts))
    return math.sqrt(total) / len(pairs), total**2 / sum(v**2 / d for v, d in parts)


def pairs_needed(deviation: float) -> int:
    """Pairs with which a change of `WORTH_FINDING` is found in 9 of 10 cases, when log ratios scatter by `deviation`:
    the least n at which the t quantiles of 0.975 and 0.9 times the error reach it."""
    effect = math.log1p(WORTH_FINDING)
    for n in range(LEAST, MANY):
        if (t_quantile(n - 1) + t_quantile(n - 1, 0.9)) * deviation / math.sqrt(n) <= effect:
            return n
    return MANY


def memory_ratio(mine: Sequence[float], base: Sequence[float]) -> Estimate:
    """Ratio of peaks over pairs. An allocator's peak does not scatter, so the range over the pairs is the interval:
    `less` or `more` when all of it lies beyond 1 %."""
    ratios = [a / b for a, b in zip(mine, base, strict=True) if b > 0]
    if not ratios:
        return NO_PAIR
    low, high, n = min(ratios), max(ratios), len(ratios)
    verdict = "less" if high < 0.99 else "more" if low > 1.01 else UNSEEN
    return Estimate(statistics.median(ratios), low, high, n, verdict, f"range over {n} pairs")


def mean_difference(differences: Sequence[float], better: str | None) -> Estimate:
    """Mean of paired differences, one for each (image, seed), with Student's t interval; `better` is the direction of
    the metric's merit (`higher`, `lower`), or None for a description."""
    if not (n := len(differences)):
        return NO_PAIR
    centre = statistics.fmean(differences)
    if all(d == 0 for d in differences):
        return Estimate(0.0, 0.0, 0.0, n, "equal", "every pair is equal", 1.0)
    if n < LEAST:
        needs = f"needs {LEAST} pairs of image and seed, has {n}"
        return Estimate(centre, None, None, n, "not enough data", needs)
    error = statistics.stdev(differences) / math.sqrt(n)
    half = t_quantile(n - 1) * error
    verdict = direction(centre, better) if error == 0 or abs(centre) > half else UNSEEN
    method = f"paired t on {n} (image, seed)"
    return Estimate(centre, centre - half, centre + half, n, verdict, method, p_value(centre, error, n - 1))


def direction(difference: float, better: str | None) -> str:
    """The word for a difference that is sure: `better` or `worse` by the metric's merit (`higher`, `lower`), or where
    it has none, `higher` or `lower`."""
    way = "higher" if difference > 0 else "lower"
    return way if better is None else "better" if way == better else "worse"


def after_holm(estimates: Mapping[Name, Estimate]) -> dict[Name, Estimate]:
    """The same estimates, where a difference keeps its verdict only if it outlives Holm's correction for the number of
    those that were tested; what is equal in every pair was not."""
    tested = {name: e.p for name, e in estimates.items() if e.p is not None and e.verdict != "equal"}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    lost = {name for name, p in corrected.items() if p > SIGNIFICANT}
    return {name: replace(e, verdict=UNSEEN) if name in lost else e for name, e in estimates.items()}


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down rule, in the given order."""
    corrected, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, p[i] * (len(p) - rank)))
        corrected[i] = least
    return corrected


def p_value(centre: float, error: float, degrees: float) -> float:
    """The two-sided p value of Student's t."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if centre else 1.0
    return float(2 * stdtr(degrees, -abs(centre) / error))
