"""Whether a few steps tell what all of them would: rank correlation with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST = 6
"""Fewer pairs bound no rank correlation away from 0 that is not perfect."""
Z95 = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation over `n` seeds, with its 95 % interval; None where it cannot be told."""

    n: int
    correlation: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the few steps rank as the full run does: the whole interval lies above 0."""
        return self.low is not None and self.low > 0


def agreement(few: Sequence[float], full: Sequence[float]) -> Agreement:
    """How far values at few steps rank seeds as their full runs do.

    The interval is Fisher's z with the variance (1 + r²/2) / (n − 3) of Bonett and Wright (Sample size requirements for
    estimating Pearson, Kendall and Spearman correlations, 2000)."""
    n = len(few)
    if n < LEAST or len(set(few)) == 1 or len(set(full)) == 1:
        return Agreement(n)
    r = float(np.corrcoef(_ranks(few), _ranks(full))[0, 1])
    z = math.atanh(max(-0.999, min(0.999, r)))
    half = Z95 * math.sqrt((1 + r * r / 2) / (n - 3))
    return Agreement(n, r, math.tanh(z - half), math.tanh(z + half))


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place])


def carried_over(few: Sequence[float], full: Sequence[float]) -> tuple[float, float, float] | None:
    """Intercept, slope and residual standard deviation of the line from values at few steps to those in full; None
    where few steps do not rank as the full run does."""
    if not agreement(few, full).holds:
        return None
    slope, intercept = (float(x) for x in np.polyfit(few, full, 1))
    left = np.asarray(full) - intercept - slope * np.asarray(few)
    return intercept, slope, float(np.sqrt((left**2).sum() / (len(few) - 2)))
