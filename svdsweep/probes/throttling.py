"""From what was seen of the GPU in each timed run to the columns of a row, and what a row answers: was it slowed down,
by what, for how long, and how many cycles of its clock did a run take. No torch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REASONS = {
    "throttled_power_s": "power cap",
    "throttled_thermal_s": "thermal",
    "throttled_reliability_s": "reliability",
    "throttled_board_limit_s": "board limit",
}
"""The driver's counters of slowed-down time, by the column that tells their seconds in a run."""
CLOCKS = ("sm_clock_mean_mhz", "memory_clock_mean_mhz")
PER_RUN = (*CLOCKS, "throttled_s", *REASONS)
"""Series of a row with one entry a timed run, None where the device did not tell."""
MATTERS_PCT = 2.0
"""A run that was slowed down for less of its time is hardly longer: at half the clock, by this share. Any GPU touches
its power cap for moments."""


@dataclass(frozen=True)
class Throttling:
    """How the runs of a row were slowed down: seconds of one run, percent of it (both None where only a look after the
    run is known), and the reasons, comma separated."""

    seconds: float | None
    percent: float | None
    reasons: str

    @property
    def matters(self) -> bool:
        """Whether it was long enough to spoil a comparison."""
        return bool(self.reasons) if self.percent is None else self.percent >= MATTERS_PCT

    def __str__(self) -> str:
        if self.percent is None:
            return self.reasons
        return f"{self.reasons or 'unknown'} for {self.percent:.0f} % of the time"


def throttling(values: Mapping[str, Any]) -> Throttling | None:
    """Whether the runs of a row, or of a line of the flat table, were slowed down; None where nothing is known.

    `values`: those of the row by their columns; what is missing, None or NaN is unknown."""
    told = values.get("throttle")
    seconds, percent = _number(values.get("throttled_s")), _number(values.get("throttled_pct"))
    if percent is None and not isinstance(told, str):
        return None
    counted = [word for name, word in REASONS.items() if (_number(values.get(name)) or 0) > 0]
    return Throttling(seconds, percent, told if isinstance(told, str) and told else ", ".join(counted))


def cycles(series: Mapping[str, Sequence[Any]]) -> list[float | None]:
    """Cycles of the SM clock that each timed run of a row took (seconds times the mean clock over it); None for a run
    whose clock or time is unknown. `series`: those of the row."""
    runs, clocks = series.get("total_s", []), series.get("sm_clock_mean_mhz", [])
    numbers = zip(map(_number, runs), map(_number, clocks), strict=False)
    known = [s * mhz * 1e6 if s is not None and mhz is not None else None for s, mhz in numbers]
    return known + [None] * (len(runs) - len(known))


def state_values(series: Mapping[str, Sequence[Any]]) -> dict[str, float | None]:
    """The columns that follow from the series in `PER_RUN`: mean clocks over all timed seconds (MHz), seconds of a run
    that were slowed down, by reason and in all, and their percent. Unknown where any run's entry is."""
    total_s = series.get("total_s", [])
    values: dict[str, float | None] = {}
    for name in PER_RUN:
        if name not in series:
            continue
        entries = [_number(entry) for entry in series[name]]
        known = [entry for entry in entries if entry is not None]
        whole = len(known) == len(total_s) > 0
        weights = total_s if name in CLOCKS else None
        values[name] = statistics.fmean(known, weights) if whole else None
    if "throttled_s" in values:
        slowed_s = values["throttled_s"]
        percent = None if slowed_s is None else 100 * slowed_s / statistics.fmean(total_s)
        values["throttled_pct"] = percent
    return values


def _number(value: Any) -> float | None:
    """A finite number; None for anything else that a row or a line of a table may hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
