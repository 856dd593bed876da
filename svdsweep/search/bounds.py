"""What a pick is by: a column with a direction, and bounds on other columns, as typed; no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from svdsweep.config import Job
from svdsweep.errors import UserError, nearest
from svdsweep.metrics import COLUMNS, HOMES, catalogue, family
from svdsweep.store.columns import MEASURED, Column
from svdsweep.store.rows import Row

COMPARED = "baseline"
"""The family that needs a baseline's frames, which a pick does not make."""
DIRECTIONS = ("higher", "lower")


@dataclass(frozen=True)
class Aim:
    """The column that a pick is by, and whether more of it is better."""

    column: Column
    higher: bool

    def merit(self, row: Row | None) -> float | None:
        """The column's value of a row, its sign turned where less is better; None where there is none."""
        value = value_of(row, self.column.name)
        return value if value is None or self.higher else -value


@dataclass(frozen=True)
class Bound:
    """A column's lowest and highest allowed value, both inclusive; None is no bound."""

    column: str
    low: float | None
    high: float | None

    def __str__(self) -> str:
        ends = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{self.column} {'..'.join(ends)}"

    def excess(self, value: float | None) -> float:
        """How far a value lies outside, in the column's unit; 0 inside, infinite for one that is not known."""
        if value is None:
            return math.inf
        below = self.low - value if self.low is not None else 0.0
        above = value - self.high if self.high is not None else 0.0
        return max(below, above, 0.0)


def value_of(row: Row | None, column: str) -> float | None:
    """A finite number of a row that ended well, else None."""
    value = row.values.get(column) if row and row.status == "ok" else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def aim_of(by: str, prefer: str | None, job: Job) -> Aim:
    """The aim as typed. Raises UserError for a column that the jobs will not have, or without a better end."""
    column = _column("--by", by.replace("-", "_"), job)
    better = prefer or column.better
    if better is None:
        raise UserError(
            f"--by {column.name}: neither end of it is the better one ({column.help.rstrip('.')}). Say which you "
            f"want: --prefer {' or --prefer '.join(DIRECTIONS)}."
        )
    return Aim(column, better == "higher")


def bound_of(flag: str, text: str | None, job: Job) -> Bound:
    """A bound as typed: `--motion-px 1..3`, `1..`, `..3`. Raises UserError."""
    column = _column(flag, flag.removeprefix("--").replace("-", "_"), job)
    ends = _ends(text or "")
    if ends is None:
        raise UserError(
            f"{flag} {text or ''}".rstrip()
            + f": a bound on {column.name} is LOW..HIGH, LOW.. or ..HIGH, the lower "
            f"end first, as in {flag} 1..3."
        )
    return Bound(column.name, *ends)


def _ends(text: str) -> tuple[float | None, float | None] | None:
    """The ends of a bound; None for what is none."""
    low, dots, high = text.partition("..")
    try:
        ends = (float(low) if low.strip() else None, float(high) if high.strip() else None)
    except ValueError:
        return None
    given = [end for end in ends if end is not None]
    falls = given != sorted(given) or any(map(math.isnan, given))
    return ends if dots and given and not falls else None


def _column(flag: str, name: str, job: Job) -> Column:
    """A column that the jobs will have. Raises UserError."""
    families = job.metrics.families
    if HOMES.get(name) == COMPARED:
        raise UserError(
            f"{flag}: {name} compares a job with its baseline, and a pick runs none. `svdsweep` runs both."
        )
    if name in HOMES and HOMES[name] not in families:
        raise UserError(
            f"{flag}: {name} is of the family {HOMES[name]}, which these jobs do not compute: they have "
            f"{', '.join(families) or 'none'}. metrics=full, or metrics.families=[…], adds it."
        )
    known = _known(job)
    if name in known:
        return known[name]
    shown = [n for n, column in known.items() if column.headline >= 2 and n in COLUMNS]
    listed = f" Columns are {', '.join(shown)}, and others of results.csv." if shown else ""
    told = "--by:" if flag == "--by" else f"{flag} is no flag of svdsweep pick, and"
    raise UserError(f"{told} there is no column {name}.{nearest(name, known)}{listed}")


def _known(job: Job) -> Mapping[str, Column]:
    """Every column of numbers that such a job has."""
    families = [name for name in job.metrics.families if name != COMPARED]
    measured = {column.name: column for column in MEASURED}
    own = {column.name for name in families for column in family(name).COLUMNS}
    return measured | {name: column for name, column in catalogue(families).items() if name in own}
