"""A row's values, series and notes, as they gather on the way from the probes to the row. No torch."""

from dataclasses import dataclass, field
from typing import Any

from svdsweep.store.rows import Scalar


@dataclass
class Measurements:
    """By column name, as in `svdsweep.store.rows.Row`."""

    values: dict[str, Scalar] = field(default_factory=dict)
    series: dict[str, list[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Measurements") -> None:
        """Take over everything of `other`; its values win."""
        self.values |= other.values
        self.series |= other.series
        self.notes += [note for note in other.notes if note not in self.notes]
