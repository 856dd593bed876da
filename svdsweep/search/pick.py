"""The stages of a pick: all candidates at few steps, a pilot whether those tell anything, the best in full."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from svdsweep.config import Job
from svdsweep.search.bounds import Aim, Bound, value_of
from svdsweep.search.candidates import Candidates
from svdsweep.search.ladder import Ladder, pilot_of
from svdsweep.search.pilot import Agreement, agreement, carried_over
from svdsweep.store.rows import Row

Run = Callable[[Sequence[Job]], Mapping[str, Row]]
"""Brings jobs to an end where they are not yet, and gives the rows of the sweep by key."""


@dataclass(frozen=True)
class Wish:
    """What is picked: the best `keep` candidates by `aim`, all `bounds` kept."""

    candidates: Candidates
    aim: Aim
    bounds: Sequence[Bound]
    keep: int
    ladder: Ladder


@dataclass(frozen=True)
class Choice:
    """What came of it; every list has a place for each candidate."""

    wish: Wish
    few: list[Row | None]
    full: list[Row | None]
    pilot: list[int]
    agreement: Agreement
    outside: list[int]
    """Whom the pilot foresees outside the bounds, so that the others went first."""
    finalists: list[int]
    """The best first; empty where the pilot refused, or nothing met the bounds."""
    in_full: bool = False
    """Whether all candidates ran in full: nothing was pruned."""

    @property
    def refused(self) -> bool:
        """Whether the pilot says that few steps tell nothing, so that nothing more was run."""
        return not self.in_full and not self.agreement.holds


def pick(wish: Wish, run: Run, in_full: bool = False) -> Choice:
    """Run the stages and choose; `in_full` runs all candidates to the end, whatever the pilot would say.

    Each stage asks `run` for the same jobs whenever it is called again, so an interrupted pick goes on."""
    c, ladder = wish.candidates, wish.ladder
    if in_full:
        rows = run(c.jobs)
        few, full = ([rows.get(job.key) for job in jobs] for jobs in (c.at(ladder.few), c.jobs))
        return Choice(wish, few, full, [], _agreement(wish.aim, few, full), [], within(wish, full), True)
    few = _rows(run, c.at(ladder.few), range(len(c.jobs)))
    order = ranked(wish.aim, few)
    pilot = pilot_of(order, ladder.pilot)
    full = _rows(run, c.jobs, pilot)
    judged = _agreement(wish.aim, few, full)
    if not judged.holds:
        return Choice(wish, few, full, pilot, judged, [], [])
    outside = sorted({i for bound in wish.bounds for i in foreseen_outside(bound, few, full)})
    queue = sorted((i for i in order if i not in pilot), key=set(outside).__contains__)
    full = _rows(run, c.jobs, sorted([*pilot, *queue[: ladder.survivors]]))
    return Choice(wish, few, full, pilot, judged, outside, within(wish, full))


def foreseen_outside(bound: Bound, few: Sequence[Row | None], full: Sequence[Row | None]) -> list[int]:
    """Those whose value at few steps, carried over by the pilot's line, leaves a bound by more than the line's residual
    standard deviation; nobody where few steps do not rank the seeds by that column."""
    at_few = [value_of(row, bound.column) for row in few]
    pairs = [
        (a, b) for a, row in zip(at_few, full, strict=True) if (b := value_of(row, bound.column)) is not None
    ]
    both = [(a, b) for a, b in pairs if a is not None]
    line = carried_over([a for a, _ in both], [b for _, b in both])
    if line is None:
        return []
    intercept, slope, deviation = line
    return [
        i for i, a in enumerate(at_few) if a is not None and bound.excess(intercept + slope * a) > deviation
    ]


def within(wish: Wish, full: Sequence[Row | None]) -> list[int]:
    """The best in full that meet every bound, as many as are kept."""
    return [i for i in ranked(wish.aim, full) if not excess(wish.bounds, full[i])][: wish.keep]


def ranked(aim: Aim, rows: Sequence[Row | None]) -> list[int]:
    """The places of rows with a value, the best first; of equals the earlier."""
    merits = {i: merit for i, row in enumerate(rows) if (merit := aim.merit(row)) is not None}
    return sorted(merits, key=lambda i: (-merits[i], i))


def excess(bounds: Sequence[Bound], row: Row | None) -> float:
    """By how much a row leaves its bounds, in their units, summed; 0 within."""
    return sum(bound.excess(value_of(row, bound.column)) for bound in bounds)


def _rows(run: Run, jobs: Sequence[Job], chosen: Sequence[int]) -> list[Row | None]:
    """The rows of the chosen jobs, None elsewhere."""
    rows = run([jobs[i] for i in chosen])
    wanted = set(chosen)
    return [rows.get(job.key) if i in wanted else None for i, job in enumerate(jobs)]


def _agreement(aim: Aim, few: Sequence[Row | None], full: Sequence[Row | None]) -> Agreement:
    merits = [(aim.merit(a), aim.merit(b)) for a, b in zip(few, full, strict=True)]
    both = [(a, b) for a, b in merits if a is not None and b is not None]
    return agreement([a for a, _ in both], [b for _, b in both])
