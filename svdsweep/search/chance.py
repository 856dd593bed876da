"""How far the finalists stand apart from what chance would have given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chance:
    """The finalists' mean beside those of random draws, in the aim's unit."""

    mean: float
    drawn_mean: float
    drawn_sd: float
    """Of the mean of as many candidates, drawn at random without putting back."""
    p: float
    """How often such a draw is as good or better."""
    random_runs: int
    random_best: float
    """What the best of `random_runs` candidates, drawn at random and run in full, are expected to have."""


def chance(
    finalists: Sequence[float],
    known: Sequence[float],
    sample: Sequence[float],
    n: int,
    runs: int,
    higher: bool,
) -> Chance | None:
    """The finalists' values against `n` candidates, of whom the values `known` count for themselves and the `sample`
    for all others (Horvitz and Thompson's weights). None for fewer than two to compare with.

    A draw's standard deviation is that of a mean without putting back, s·√((n − k) / ((n − 1)·k)), its p that of
    Student's t with one degree of freedom less than the sample (or, where nobody is left out, than all). The expected
    best of random runs are normal order statistics by Blom's approximation (Statistical Estimates and Transformed
    Beta-Variables, 1958)."""
    values = [*known, *sample]
    if len(values) < 2 or not finalists:
        return None
    from scipy.special import ndtri, stdtr

    weights = [1.0] * len(known) + [(n - len(known)) / len(sample) if sample else 0.0] * len(sample)
    total, k = sum(weights), len(finalists)
    centre = sum(w * v for w, v in zip(weights, values, strict=True)) / total
    spread = math.sqrt(sum(w * (v - centre) ** 2 for w, v in zip(weights, values, strict=True)) / total)
    sign = 1.0 if higher else -1.0
    mean = sum(finalists) / k
    drawn_sd = spread * math.sqrt((n - k) / ((n - 1) * k))
    degrees = max(1, len(sample) - 1) if sample else len(values) - 1
    p = float(stdtr(degrees, -sign * (mean - centre) / drawn_sd)) if drawn_sd else 1.0
    m = min(n, max(runs, k))
    best = [float(ndtri((m + 1 - j - 0.375) / (m + 0.25))) for j in range(1, k + 1)]
    return Chance(mean, centre, drawn_sd, p, m, centre + sign * spread * sum(best) / k)
