"""The noise levels of a run by the name of their schedule. No torch here: `plan` asks whether they fall."""

import numpy as np

from svdsweep.config.schedulers import CONSISTENCY_LEVELS

SIGMA_MIN, SIGMA_MAX = 0.002, 700.0
"""SVD's lowest and highest noise level, as its scheduler's config has them."""
AYS = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034)
"""Where each of ten steps begins, as Align Your Steps (Sabour et al. 2024, arXiv:2404.14507) publishes it for SVD."""


def karras(ramp: np.ndarray, low: float, high: float) -> list[float]:
    """Levels at places from 0 (`high`) to 1 (`low`), linear in sigma^(1/7) (Karras et al. 2022, eq. 5)."""
    rho = 7.0
    levels: list[float] = (
        (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    ).tolist()
    return levels


def levels(schedule: str, steps: int, final: float, low: float, high: float) -> list[float]:
    """`steps` + 1 falling levels of `karras`, `exponential` or `ays`.

    With `final`=0 the last step begins at `low` and ends at 0; above it the levels end at `final` instead."""
    if schedule == "ays":
        return _ays(steps, final, low)
    count, end = (steps, low) if final == 0 else (steps + 1, final)
    ramp = np.linspace(0, 1, count)
    if schedule == "exponential":
        found = np.exp(np.log(high) + ramp * (np.log(end) - np.log(high))).tolist()
    else:
        found = karras(ramp, end, high)
    return [*found, 0.0] if final == 0 else found


def consistency(steps: int, final: float, low: float, high: float) -> list[float]:
    """The levels of AnimateLCM-SVD's scheduler (MIT, github.com/G-U-N/AnimateLCM, animatelcm_svd/): every so many
    of the 40 of Karras's that it was distilled at, from the highest on; they do not reach the lowest."""
    every = CONSISTENCY_LEVELS // steps
    return [*karras(np.arange(steps) * every / (CONSISTENCY_LEVELS - 1), low, high), final]


def _ays(steps: int, final: float, low: float) -> list[float]:
    """The published levels; for another number than ten, interpolated linearly in the logarithm, as their authors do,
    down to `final`, or to `low` before a last level of 0."""
    if steps == len(AYS):
        return [*AYS, final]
    published = np.log([*AYS, final or low])
    places = np.linspace(0, len(AYS), steps, endpoint=False)
    return [*np.exp(np.interp(places, range(len(published)), published)).tolist(), final]
