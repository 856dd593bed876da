"""The one contract of all engines: what a worker is, and what running jobs yields."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from svdsweep.config import Job
from svdsweep.store import Row

Report = Callable[[str, float | None], None]
"""`report(phase, vram_peak_gib)`: a worker says where it is, so that a row can tell even if the process dies there."""


class Work(Protocol):
    """A loaded worker: answers jobs, keeping the pipeline of the last settings warm between them."""

    def __call__(self, job: Job, attempt: int, report: Report) -> Row:
        """Run a job. Exceptions become rows inside (`oom`, `failed`, `rejected`); one that escapes is `failed` too."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a worker stands: the device, the sweep's folder (for videos and logs) and its share of the cores."""

    device: str
    """`cpu`, or what CUDA_VISIBLE_DEVICES takes: an index, a UUID, a MIG name. The worker sees it as its only GPU."""
    folder: Path
    threads: int = 1


Load = Callable[[Place], Work]
"""Made in the worker's own process, after CUDA_VISIBLE_DEVICES is set and before torch is imported."""


class Watch(Protocol):
    """What an engine tells while it runs; a worker is named as its log file is."""

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
        """So many jobs are run once more, in another round (`measure.rounds`)."""

    def told(self, text: str) -> None:
        """One sentence for the user."""

    def closed(self) -> None:
        """The sweep ends, whatever the reason."""
