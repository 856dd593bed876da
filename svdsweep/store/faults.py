"""What a reader of row files met beside rows, counted and told in a sentence."""

from dataclasses import dataclass, field

PLACES_TOLD = 3
"""So many of the lines that are no rows are told by their place."""


@dataclass
class Faults:
    """What a reader met in the row files beside rows as this version writes them."""

    unreadable: int = 0
    """Lines that are no row here (torn, altered, of wrong kinds, or of a newer version): passed over."""
    other_schema: int = 0
    """Rows of an older schema: read, and what they lack is empty."""
    places: list[str] = field(default_factory=list, compare=False)
    """Where the first of the unreadable lines are, and what is wrong with them."""

    def passed_over(self, place: str, why: str) -> None:
        """Count a line that is no row."""
        self.unreadable += 1
        if len(self.places) < PLACES_TOLD:
            self.places.append(f"{place} ({why})")

    def __add__(self, other: "Faults") -> "Faults":
        """Those of two readings, in this order."""
        places = [*self.places, *other.places][:PLACES_TOLD]
        return Faults(self.unreadable + other.unreadable, self.other_schema + other.other_schema, places)

    def __str__(self) -> str:
        """A sentence about what could not be read; empty where all could."""
        if not self.unreadable:
            return ""
        rows = "1 row" if self.unreadable == 1 else f"{self.unreadable} rows"
        more = f" and {self.unreadable - len(self.places)} more" if self.unreadable > len(self.places) else ""
        return f"{rows} could not be read: {', '.join(self.places)}{more}"
