"""From what was seen of the GPU in each timed run to the columns of a row, and what a row answers: was it slowed down,
by what and for how long. No torch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from svdsweep.store.columns import LIMITS
from svdsweep.store.measurements import Measurements

REASONS = {column: word for column, (word, _) in LIMITS.items()}
"""The driver's counters of slowed-down time, by the column that tells their seconds in a run."""
CLOCKS = ("sm_clock_mean_mhz", "memory_clock_mean_mhz")
PER_RUN = (*CLOCKS, "throttled_s", *REASONS)
"""Series of a row with one entry a timed run, None where the device did not tell."""
MATTERS_PCT = 2.0
"""A run that was slowed down for less of its time is hardly longer: at half the clock, by this share. Any GPU touches
its power cap for moments."""
TOLD_BY = ("throttle", "throttled_s", "throttled_pct", *REASONS)
"""The columns that say whether the runs of a row were slowed down."""
SLOWED = "the GPU was slowed down: "
"""How the note of a row begins that tells of it."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a GPU over one run, `total_s` long; None is what it does not tell."""

    sm_clock_mean_mhz: float | None = None
    memory_clock_mean_mhz: float | None = None
    throttled_s: float | None = None
    """Seconds in which it was slowed down, for whatever reason."""
    by_reason_s: Mapping[str, float] = field(default_factory=dict)
    """Those of each reason that the driver counts, by column."""
    throttle: str | None = None
    """Every reason that was met, comma separated; empty where there was none."""
    clocks_held: bool | None = None


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


def throttling(values: Mapping[Any, Any]) -> Throttling | None:
    """Whether the runs of a row, or of a line of the flat table, were slowed down; None where nothing is known.

    `values`: those of the row by their columns; what is missing, None or NaN is unknown."""
    told = values.get("throttle")
    seconds, percent = _number(values.get("throttled_s")), _number(values.get("throttled_pct"))
    if percent is None and not isinstance(told, str):
        return None
    counted = [word for name, word in REASONS.items() if (_number(values.get(name)) or 0) > 0]
    return Throttling(seconds, percent, told if isinstance(told, str) and told else ", ".join(counted))


def state_series(seen: Sequence[Seen | None]) -> dict[str, list[float | None]]:
    """The series in `PER_RUN` of what was seen of some runs; none where nothing was."""
    if not any(seen):
        return {}
    runs = [each or Seen() for each in seen]
    series = {name: [getattr(run, name) for run in runs] for name in (*CLOCKS, "throttled_s")}
    return series | {name: [run.by_reason_s.get(name) for run in runs] for name in REASONS}


def state_columns(series: Mapping[str, Sequence[Any]], *throttle: Any) -> Measurements:
    """The columns that follow from a row's series, and from texts of the reasons that were met (None: not told); with a
    note where the GPU was slowed down for long enough to matter."""
    columns = Measurements({**state_values(series), "throttle": words_of(*throttle)})
    if (told := throttling(columns.values)) and told.matters:
        columns.notes.append(f"{SLOWED}{told}")
    return columns


def words_of(*texts: Any) -> str | None:
    """The reasons of several texts, each once; None where none is a text."""
    known = [text for text in texts if isinstance(text, str)]
    words = dict.fromkeys(word for text in known for word in text.split(", ") if word)
    return ", ".join(words) if known else None


def pieced(whole: Seen | None, kept: float, kept_s: float, own: Seen | None, own_s: float) -> Seen | None:
    """What was seen of a run that is pieced together: the share `kept` of a watched one, which lasted `kept_s`, and all
    of another, which lasted `own_s`. None unless both were watched."""
    if whole is None or own is None:
        return None

    def summed(one: float | None, other: float | None) -> float | None:
        return None if one is None or other is None else kept * one + other

    def mean(one: float | None, other: float | None) -> float | None:
        return None if one is None or other is None else statistics.fmean([one, other], [kept_s, own_s])

    return Seen(
        sm_clock_mean_mhz=mean(whole.sm_clock_mean_mhz, own.sm_clock_mean_mhz),
        memory_clock_mean_mhz=mean(whole.memory_clock_mean_mhz, own.memory_clock_mean_mhz),
        throttled_s=summed(whole.throttled_s, own.throttled_s),
        by_reason_s={
            name: kept * whole.by_reason_s[name] + own.by_reason_s[name]
            for name in REASONS
            if name in whole.by_reason_s and name in own.by_reason_s
        },
        throttle=words_of(whole.throttle, own.throttle),
        clocks_held=own.clocks_held,
    )


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
