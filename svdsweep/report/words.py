"""Numbers and verdicts as words, the same on the page, in Markdown and on the terminal."""

import math
from typing import Any

import pandas as pd

from svdsweep.analysis.pairs import Estimate

MEMORY_WORDS = {
    "vram_allocated_peak_gib": "VRAM peak, allocated",
    "vram_reserved_peak_gib": "VRAM peak, reserved",
    "host_ram_peak_gib": "host memory peak of the worker",
}


def has_value(value: Any) -> bool:
    """Whether there is a value at all: not None, NaN or pandas' missing."""
    return not (pd.api.types.is_scalar(value) and pd.isna(value))


def text(value: Any) -> str:
    """A number in full, else the text; nothing where there is no value."""
    return str(value) if has_value(value) else ""


def shown(value: Any) -> str:
    """Four digits are enough to compare; what is not known is a dash."""
    if not has_value(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def change(estimate: Estimate) -> str:
    """A ratio as `0.82× (0.80–0.84)`."""
    if estimate.value is None:
        return "–"
    text = f"{estimate.value:.3g}×"
    if estimate.low is not None and estimate.high is not None and not math.isnan(estimate.low):
        text += f" ({estimate.low:.3g}–{estimate.high:.3g})"
    return text


def difference(estimate: Estimate) -> str:
    """A difference as `+0.12 (0.08 to 0.16)`."""
    if estimate.value is None:
        return "–"
    text = f"{estimate.value:+.3g}"
    if estimate.low is not None and estimate.high is not None:
        text += f" ({estimate.low:+.3g} to {estimate.high:+.3g})"
    return text


def verdict(estimate: Estimate) -> str:
    """The verdict, with how many pairs would settle it where that is known, or why it is ambiguous; a dash where
    nothing was compared."""
    if not estimate.n:
        return "–"
    if estimate.why:
        return f"{estimate.verdict}; {estimate.why}"
    if estimate.needed:
        return f"{estimate.verdict}; about {estimate.needed} pairs would find 10 %"
    return estimate.verdict
