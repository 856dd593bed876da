"""The one contract of all engines: how they run jobs, what they tell meanwhile, and what a cluster's queue holds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from svdsweep.config import Job, Runner
from svdsweep.store.rows import Row, Store
from svdsweep.worker.contract import Load

TICK_S = 0.5
"""How often deadlines, deaths that closed no pipe, and other drivers' jobs are looked at."""


More = Callable[[Mapping[str, Row]], Sequence[Job]]
"""`more(rows)`: the jobs of the next stage, which the rows so far (by key) decide; none when all stages are over."""


def no_more(_rows: Mapping[str, Row]) -> Sequence[Job]:
    """Of a sweep whose jobs are all known from the start."""
    return ()


class Watch:
    """What an engine tells while it runs; this one passes it over, others show it. A worker is named as its log is."""

    def opened(self, jobs: int, workers: Sequence[str]) -> None:
        """The sweep begins: so many jobs to do, on these workers (more may come)."""

    def started(self, worker: str, job: Job, attempt: int) -> None:
        """A worker has taken a job."""

    def reached(self, worker: str, phase: str, vram_peak_gib: float | None) -> None:
        """A worker's job has come to a phase, with the VRAM peak so far where there is one."""

    def finished(self, worker: str, row: Row, left_s: float | None) -> None:
        """A row is stored; `left_s` estimates the seconds until the sweep ends, None while unknown."""

    def elsewhere(self, jobs: int) -> None:
        """So many of the jobs were done by another driver of the same sweep."""

    def added(self, jobs: int) -> None:
        """So many jobs come to those that were told: another round (`measure.rounds`), or another stage."""

    def told(self, text: str) -> None:
        """One sentence is for the user."""

    def closed(self) -> None:
        """The sweep ends, whatever the reason."""


class Engine(Protocol):
    """A module of this folder that `runner=` names."""

    def run(
        self,
        jobs: Sequence[Job],
        load: Load,
        options: Runner,
        store: Store,
        watch: Watch,
        more: More = no_more,
    ) -> Iterator[Row]:
        """Run jobs, each once, and yield each row when it is stored; see `svdsweep.runner.run_jobs`. What the store has
        read of the sweep is not read again: the engine asks it for `rows`, and for what is new by its `tail`."""
        ...


@dataclass(frozen=True)
class Batch:
    """What a cluster's queue holds for a sweep whose driver may be gone."""

    name: str
    tasks: dict[str, int] | None
    """Tasks that are not over, by state; none when it is over, None where the cluster does not answer."""
