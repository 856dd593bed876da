"""A job in the hands of a worker: what its driver has seen of it, enough for a row if the worker cannot answer."""

import contextlib
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime

import psutil

from svdsweep.config import Job
from svdsweep.platforms import host, system
from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import WHOLE, Row
from svdsweep.store.secrets import masked_row

GIB = 2**30


class GivenJob:
    """One attempt at a job, from the moment it is given to a worker."""

    def __init__(self, job: Job, attempt: int, worker: str, device: str) -> None:
        self.job, self.attempt, self.worker = job, attempt, worker
        self.begun = False
        """Whether the worker has taken it."""
        self._phase = ""
        self._vram_peak_gib: float | None = None
        self._ram_peak_gib: float | None = None
        self.deadline = float("inf")
        """When its frames must have been judged (`time.monotonic`), if that is done beside another job."""
        self.took_s = 0.0
        """How long the device had it, once that is over."""
        self._since = time.monotonic()
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.facts: dict[str, Scalar] = {
            "host": socket.gethostname(),
            "device": device,
            "started_at": started_at,
            "worker": worker,
        }
        """The provenance that its driver knows."""
        self._oom_kills = host.oom_kills()

    def ran(self) -> None:
        """The device is free again."""
        self.took_s = self.took_s or time.monotonic() - self._since

    def reached(self, phase: str, vram_peak_gib: float | None) -> None:
        """The worker has come to a phase of it."""
        self._phase = phase
        self._vram_peak_gib = self._vram_peak_gib if vram_peak_gib is None else vram_peak_gib

    def look(self, pid: int) -> None:
        """Note how much host memory the worker's process takes."""
        with contextlib.suppress(psutil.Error):  # it may be gone
            ram_gib = psutil.Process(pid).memory_info().rss / GIB
            self._ram_peak_gib = max(ram_gib, self._ram_peak_gib or 0.0) or None

    def answered(self, row: Row) -> Row:
        """The worker's row with what its driver knows."""
        provenance = {**self.facts, **row.provenance}
        phase = row.phase or ("" if row.status in WHOLE else self._phase)
        whole = replace(row, job=self.job, attempt=self.attempt, phase=phase, provenance=provenance)
        return masked_row(whole)

    def crashed(self, code: int | None, tail: str) -> Row:
        """The row after its worker's process has ended with an exit code, with the tail of the log."""
        who = host.out_of_memory(code, self._oom_kills)
        if not who:
            return self.lost("crashed", f"worker ended: {system.ending(code)}", tail)
        memory_gib = psutil.virtual_memory().total / GIB
        used = f"last seen with {self._ram_peak_gib or 0:.1f} of {memory_gib:.1f} GiB of host memory"
        note = f"{who} the worker, {used}."
        return self.lost("crashed", note, tail, note)

    def lost(self, status: str, what: str, tail: str, *notes: str) -> Row:
        """The row after a worker that cannot answer any more, with the tail of its log."""
        where = f" in phase {self._phase}" if self._phase else ""
        phase, error = self._phase or "load", f"{what}{where}\n{tail}".rstrip()
        peaks: dict[str, Scalar] = {"vram_allocated_peak_gib": self._vram_peak_gib}
        peaks["host_ram_peak_gib"] = self._ram_peak_gib
        on_peaks = "The peaks are the last that were seen before the worker ended."
        on_log = f"The worker's log is logs/{self.worker}.log."
        row = Row(self.job, status, error=error, phase=phase, values=peaks, notes=[*notes, on_peaks, on_log])
        return self.answered(row)
