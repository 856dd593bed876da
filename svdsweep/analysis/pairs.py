"""Two settings compared: ratios and differences over pairs, with intervals and a plain verdict. No torch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from svdsweep.analysis import seeds
from svdsweep.probes.statistics import t_quantile

LEAST = 3
"""Fewer values than this have no interval."""
MATTERS = 0.02
"""A smaller change of a latency is not worth a word, however sure."""
MANY = 1000
"""Nobody runs so many pairs."""
WORTH_FINDING = 0.10
"""The change for which it is said how many pairs would be needed."""


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
    """Two-sided, of no difference."""
    needed: int | None = None
    """Pairs with which a change of `WORTH_FINDING` would be found in 9 of 10 cases, where the interval is too wide."""


@dataclass(frozen=True)
class Times:
    """The timed runs of one job on the logarithm: mean, variance (None below two runs) and number."""

    mean: float
    variance: float | None
    n: int


def latency_ratio(pairs: Sequence[tuple[Times, Times]]) -> Estimate:
    """Ratio of a strategy's geometric mean time to its baseline's, over (strategy, baseline) pairs of equal generation
    settings: from 3 pairs Student's t on their log ratios, below that Welch's on the logs of the raw repeats."""
    if not pairs:
        return Estimate(None, None, None, 0, "no pair to compare")
    logs = [mine.mean - base.mean for mine, base in pairs]
    centre = statistics.fmean(logs)
    if len(logs) >= LEAST:
        error, degrees, n = statistics.stdev(logs) / math.sqrt(len(logs)), float(len(logs) - 1), len(logs)
        method = f"paired t on {n} log ratios"
    else:
        found = _welch(pairs)
        if found is None:
            return Estimate(
                math.exp(centre),
                None,
                None,
                len(logs),
                "not enough data",
                f"needs {LEAST} pairs or {LEAST} repeats",
            )
        (error, degrees), n = found, sum(mine.n for mine, _ in pairs)
        method = f"Welch's t on the logs of {n} repeats"
    half = t_quantile(max(1, int(degrees)))
    low, high = math.exp(centre - half * error), math.exp(centre + half * error)
    sure = (low > 1 or high < 1) and abs(math.exp(centre) - 1) > MATTERS
    verdict = ("faster" if centre < 0 else "slower") if sure else "no difference seen"
    needed = None
    if not sure and len(logs) >= LEAST:
        needed = pairs_needed(error * math.sqrt(len(logs)))
        needed = needed if len(logs) < needed < MANY else None
    return Estimate(math.exp(centre), low, high, n, verdict, method, _p(centre, error, degrees), needed)


def _welch(pairs: Sequence[tuple[Times, Times]]) -> tuple[float, float] | None:
    """Standard error of the mean log ratio and its degrees of freedom; None with too few repeats."""
    parts = []
    for sides in pairs:
        for side in sides:
            if side.variance is None or side.n < LEAST:
                return None
            parts.append((side.variance / side.n, side.n - 1))
    total = sum(v for v, _ in parts)
    if not total:
        return 0.0, float(min(d for _, d in parts))
    return math.sqrt(total) / len(pairs), total**2 / sum(v**2 / d for v, d in parts)


def pairs_needed(deviation: float, change: float = WORTH_FINDING) -> int:
    """Pairs with which a change (a share of the latency) is found in 9 of 10 cases, when log ratios scatter by
    `deviation`: the least n at which the t quantiles of 0.975 and 0.9 times the error reach it."""
    effect = math.log1p(change)
    for n in range(LEAST, MANY):
        if (t_quantile(n - 1) + t_quantile(n - 1, 0.9)) * deviation / math.sqrt(n) <= effect:
            return n
    return MANY


def memory_ratio(mine: Sequence[float], base: Sequence[float]) -> Estimate:
    """Ratio of peaks over pairs. An allocator's peak does not scatter, so the range over the pairs is the interval:
    `less` or `more` when all of it lies beyond 1 %."""
    ratios = [a / b for a, b in zip(mine, base, strict=True) if b > 0]
    if not ratios:
        return Estimate(None, None, None, 0, "no pair to compare")
    low, high = min(ratios), max(ratios)
    verdict = "less" if high < 0.99 else "more" if low > 1.01 else "no difference seen"
    return Estimate(
        statistics.median(ratios), low, high, len(ratios), verdict, f"range over {len(ratios)} pairs"
    )


def mean_difference(differences: Sequence[float], better: str | None) -> Estimate:
    """Mean of paired differences, one for each (image, seed), with Student's t interval; `better` is the direction of
    the metric's merit (`higher`, `lower`), or None for a description."""
    n = len(differences)
    if not n:
        return Estimate(None, None, None, 0, "no pair to compare")
    centre = statistics.fmean(differences)
    if all(d == 0 for d in differences):
        return Estimate(0.0, 0.0, 0.0, n, "equal", "every pair is equal", 1.0)
    if n < LEAST:
        return Estimate(
            centre, None, None, n, "not enough data", f"needs {LEAST} pairs of image and seed, has {n}"
        )
    error = statistics.stdev(differences) / math.sqrt(n)
    half = t_quantile(n - 1) * error
    verdict = "no difference seen"
    if error == 0 or abs(centre) > half:
        verdict = _word(centre, better)
    method = f"paired t on {n} (image, seed)"
    return Estimate(centre, centre - half, centre + half, n, verdict, method, _p(centre, error, n - 1))


def _word(centre: float, better: str | None) -> str:
    if better is None:
        return "higher" if centre > 0 else "lower"
    return "better" if (centre > 0) == (better == "higher") else "worse"


def holm(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The same estimates, where a difference keeps its verdict only if it outlives Holm's correction for the number of
    metrics looked at (5 % for the whole family)."""
    tested = [(name, e.p) for name, e in estimates.items() if e.p is not None and e.verdict != "equal"]
    corrected = seeds.holm([p for _, p in tested])
    silent = {name for (name, _), p in zip(tested, corrected, strict=True) if p > 0.05}
    return {
        name: Estimate(e.value, e.low, e.high, e.n, "no difference seen", e.method, e.p)
        if name in silent
        else e
        for name, e in estimates.items()
    }


def _p(centre: float, error: float, degrees: float) -> float:
    """Two-sided p of Student's t."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if centre else 1.0
    return float(2 * stdtr(degrees, -abs(centre) / error))
