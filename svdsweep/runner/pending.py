"""Which jobs are still to be done, and which rows come from other hardware or software; torch-free."""

from collections.abc import Iterable, Mapping, Sequence

from svdsweep.config import Job, Runner
from svdsweep.errors import UserError, nearest
from svdsweep.runner.contract import More
from svdsweep.runner.rounds import differing, further_rounds
from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import STATUSES, Row

MAKERS = ("gpu", "torch", "diffusers")
"""The provenance that decides whether two rows' numbers may stand side by side."""


def pending(jobs: Sequence[Job], rows: Mapping[str, Row], options: Runner) -> list[Job]:
    """The jobs to run, each key once, in the given order; `rows` holds the last row of each key.

    Final statuses are done, unless further rounds are due; others are tried again up to `options.attempts`; `retry` and
    `fresh` widen that. Raises UserError for a status that does not exist."""
    for status in options.retry:
        if status not in STATUSES:
            raise UserError(
                f"runner.retry={status} is not a status: allowed are {', '.join(STATUSES)}.{nearest(status, STATUSES)}"
            )
    distinct = {job.key: job for job in jobs}
    again = [job for key, job in distinct.items() if options.fresh or _again(rows.get(key), options)]
    due = {job.key for job in (*again, *further_rounds(distinct.values(), rows))}
    return [job for job in distinct.values() if job.key in due]


def next_stage(more: More, rows: Mapping[str, Row], options: Runner) -> list[Job]:
    """What is to run of the next stage of which the `rows` do not settle all; none when all stages are over."""
    while stage := more(rows):
        if todo := pending(stage, rows, options):
            return todo
    return []


def _again(row: Row | None, options: Runner) -> bool:
    if row is None or row.status in options.retry:
        return True
    return not row.final and row.attempt < options.attempts


def from_other_machines(rows: Iterable[Row], here: Mapping[str, Scalar]) -> list[Row]:
    """The rows made under another GPU, torch or diffusers than `here`'s; what is unknown differs from nothing."""
    return [row for row in rows if differing(row.provenance, here, MAKERS)]
