"""A row's values, series and notes, as they gather on the way from probes and metrics to the row. No torch."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from svdsweep.store.kinds import Scalar


@dataclass
class Measurements:
    """What a probe or a family of metrics answers, and what a job gathers of them; each part goes into the part of
    the same name of a `svdsweep.store.rows.Row`."""

    values: dict[str, Scalar] = field(default_factory=dict)
    """One number or word a column, by its name. What could not be read or computed is None, and a note says why."""
    series: dict[str, list[Any]] = field(default_factory=dict)
    """Raw values in order, by name: one a timed run or step, or one a frame, pair of neighbours (t, t + 1) or triple;
    None where it is unknown."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader."""

    def add(self, other: "Measurements") -> None:
        """Take over everything of `other`; its values win."""
        self.values |= other.values
        self.series |= other.series
        self.notes += [note for note in other.notes if note not in self.notes]

    def part_of(self, names: Collection[str]) -> "Measurements":
        """Take out the values and series of these names, and return them."""
        values = {name: self.values.pop(name) for name in names if name in self.values}
        series = {name: self.series.pop(name) for name in names if name in self.series}
        return Measurements(values, series)
