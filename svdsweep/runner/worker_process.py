"""A device's seat: the worker processes that sit on it one after the other, and what became of their jobs."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from svdsweep.config import Job, Runner
from svdsweep.memory.conflicts import needs_fresh_process
from svdsweep.runner import host
from svdsweep.runner.contract import Watch
from svdsweep.runner.worker_main import command, environment
from svdsweep.store.rows import Row, Scalar
from svdsweep.worker.contract import Slot

STARTS = 2
"""Starts in a row without a job taken, after which a seat is given up."""

TAIL_BYTES = 4096
SPOILT = re.compile(
    r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|device-side assert|illegal memory access", re.IGNORECASE
)
"""Failures that leave a CUDA context unusable: every later job of that process would fail too."""


class Unwritable(OSError):
    """Results cannot be written, whichever process found out: the sweep stops, and what is stored stays."""


class WorkerProcess:
    """One device and its present process.

    The engine calls `start`, waits for `pipe` to be readable, calls `step`, and gives a job when `idle`.
    Whatever happens to a job that was given, `step` returns a row for it, or `returned` holds it, not begun."""

    def __init__(
        self, name: str, device: str, threads: int, folder: Path, load: str, options: Runner, watch: Watch
    ) -> None:
        self.name, self.watch, self.options = name, watch, options
        self.place = Slot(device, folder, threads)
        self.log = folder / "logs" / f"{name}.log"
        self.load = load
        self.pipe: Connection | None = None
        self.job: Job | None = None
        self.returned: Job | None = None
        self.last: Job | None = None
        """The job that the present process was given last."""
        self.cause = ""
        """Why the last start failed."""
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._ready = False
        self._failed_starts = 0
        self._spoilt = False
        self._deadline = float("inf")
        self._log_from = 0
        self._idle_since = 0.0
        self._begun, self._phase = False, ""
        self._peak_gib: float | None = None
        self._ram_gib: float | None = None
        self._kills: int | None = None

    @property
    def idle(self) -> bool:
        """Whether it may be given a job."""
        return self._ready and self.job is None

    @property
    def idle_s(self) -> float:
        """Seconds since it was last busy."""
        return time.monotonic() - self._idle_since

    @property
    def empty(self) -> bool:
        """Whether no process sits here."""
        return self._process is None

    @property
    def lost(self) -> bool:
        """Whether its processes do not come up."""
        return self._failed_starts >= STARTS

    def start(self) -> None:
        """Start a process; it is `idle` when it has loaded. Raises OSError when its log cannot be written."""
        self.pipe, theirs = Pipe()
        dead, self._lifeline = os.pipe()  # its end is closed by our death, however we die
        try:
            with self.log.open("ab") as log:
                log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {self.place.device}\n".encode())
                log.flush()
                self._process = subprocess.Popen(
                    command(theirs.fileno(), dead),
                    env=environment(self.place),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(), dead),
                    start_new_session=True,  # Ctrl-C at the terminal is the driver's; and it dies with what it started
                )
        finally:
            theirs.close()  # else its death would not be seen
            os.close(dead)
        self._ready, self._spoilt, self.last, self.cause = False, False, None, ""
        self._log_from = self._log_size()
        self._deadline = time.monotonic() + self.options.start_timeout_s
        self._send((self.load, self.place))

    def give(self, job: Job, attempt: int) -> None:
        """Hand over a job, to be called when `idle`."""
        self.job, self.last, self.attempt = job, job, attempt
        self._begun, self._phase, self._peak_gib, self._ram_gib = False, "", None, None
        self._given, self._given_at = time.monotonic(), datetime.now(UTC)
        self._deadline = self._given + (self.options.timeout_s or float("inf"))
        self._log_from = self._log_size()
        self._kills = host.oom_kills()
        self._send((job, attempt))

    @property
    def seconds(self) -> float:
        """Since the present or last job was given."""
        return time.monotonic() - self._given

    def step(self, readable: bool) -> Row | None:
        """Take one message, or see a death or a deadline; the row of the job that is over by it.

        Raises Unwritable when the worker could not write its results."""
        if readable:
            assert self.pipe is not None
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):  # OSError: it died in the middle of a message
                return self._died()
            return self._hear(message)
        if self._process is not None and self._process.poll() is not None:
            assert self.pipe is not None
            if self.pipe.poll():
                return self.step(True)  # its last words come first
            return self._died()
        if time.monotonic() > self._deadline:
            return self._late()
        if self.job and self._process:
            self._ram_gib = max(host.process_gib(self._process.pid) or 0.0, self._ram_gib or 0.0) or None
        return None

    def stop(self) -> None:
        """Kill the process and all that it has started; a job under way is forgotten."""
        self.job = None
        self._end()

    def needs_fresh_process(self, job: Job) -> bool:
        """Whether the present process may not take this job: it is spoilt, or what it has loaded cannot be undone."""
        if self.last is None:
            return False
        if self._spoilt or self.options.isolation == "job":
            return True
        if self.last.pipeline_key == job.pipeline_key:
            return False
        return (
            self.options.isolation == "settings"
            or needs_fresh_process(self.last.memory)
            or needs_fresh_process(job.memory)
        )

    def _send(self, message: Any) -> None:
        assert self.pipe is not None
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # dead; the next step sees the end of file
            self.pipe.send(message)

    def _hear(self, message: tuple[Any, ...]) -> Row | None:
        match message:
            case ("ready",):
                self._ready, self._deadline, self._idle_since = True, float("inf"), time.monotonic()
            case ("broken", cause):
                self.cause = cause
            case ("taken",) if self.job:
                self._begun, self._failed_starts = True, 0
                self.watch.started(self.name, self.job, self.attempt)
            case ("phase", phase, peak_gib):
                self._phase, self._peak_gib = phase, self._peak_gib if peak_gib is None else peak_gib
                self.watch.reached(self.name, phase, peak_gib)
            case ("row", text):
                row = Row.from_plain(json.loads(text))
                self._spoilt = row.status == "oom" or (
                    row.status == "failed" and bool(SPOILT.search(row.error))
                )
                return self._over(
                    replace(row, phase=row.phase or ("" if row.status == "ok" else self._phase))
                )
            case ("unwritable", why):
                raise Unwritable(why)
        return None

    def _died(self) -> Row | None:
        """The process has ended by itself."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=10)  # its exit code, which killing it now would replace
        except subprocess.TimeoutExpired:
            code = None
        memory = code == -signal.SIGKILL and self._for_memory()
        was_ready = self._ready
        self._end()
        if not was_ready:
            self._failed_starts += 1
            self.cause = self.cause or f"the worker ended while starting: {ending(code)}\n{self._tail()}"
            return None
        if self.job is None:
            self._failed_starts += 1
            self.cause = f"the worker ended without a job: {ending(code)}\n{self._tail()}"
            return None
        if not self._begun:
            self.returned, self.job = self.job, None
            self._failed_starts += 1
            self.cause = f"the worker ended before it took its job: {ending(code)}\n{self._tail()}"
            return None
        notes = [f"The kernel's out-of-memory killer ended the worker, {self._used()}."] if memory else []
        return self._over(self._lost_row("crashed", f"worker ended: {ending(code)}", notes))

    def _late(self) -> Row | None:
        """The process is not ready, or has not answered, in time."""
        self._end()
        if self.job is None:
            self._failed_starts += 1
            self.cause = f"the worker was not ready after {self.options.start_timeout_s:g} s\n{self._tail()}"
            return None
        return self._over(self._lost_row("timeout", f"no answer in {self.options.timeout_s:g} s", []))

    def _lost_row(self, status: str, what: str, notes: list[str]) -> Row:
        """The row of a job whose worker cannot tell any more."""
        assert self.job is not None
        values: dict[str, Scalar] = {
            "vram_allocated_peak_gib": self._peak_gib,
            "host_ram_peak_gib": self._ram_gib,
        }
        where = f" in phase {self._phase}" if self._phase else ""
        return Row(
            self.job,
            status,
            error=f"{notes[0] if notes else what}{where}\n{self._tail()}".rstrip(),
            phase=self._phase or "load",
            values=values,
            notes=[
                *notes,
                "The peaks are the last that were seen before the worker ended.",
                f"The worker's log is {self.log.relative_to(self.place.folder)}.",
            ],
        )

    def _over(self, row: Row) -> Row:
        assert self.job is not None
        made: dict[str, Scalar] = {
            "host": socket.gethostname(),
            "device": self.place.device,
            "started_at": self._given_at.isoformat(timespec="seconds"),
            "worker": self.name,
        }
        done = replace(row, job=self.job, attempt=self.attempt, provenance={**made, **row.provenance})
        self.job, self._deadline, self._idle_since = None, float("inf"), time.monotonic()
        return done

    def _for_memory(self) -> bool:
        """Whether the kernel has killed for host memory since the job was given."""
        before, now = self._kills, host.oom_kills()
        return before is not None and now is not None and now > before

    def _used(self) -> str:
        return f"last seen with {self._ram_gib or 0:.1f} of {host.memory_gib():.1f} GiB of host memory"

    def _end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self._lifeline)
        if self.pipe is not None:
            self.pipe.close()
        self.pipe, self._process, self._ready = None, None, False

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _tail(self) -> str:
        """What the worker printed since its start or its job began; the last lines, as a terminal would show them."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_from, self._log_size() - TAIL_BYTES))
            text = log.read().decode(errors="replace")
        lines = [line.rsplit("\r", 1)[-1] for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-20:])


def ending(code: int | None) -> str:
    """An exit code in words."""
    if code is None:
        return "it closed its pipe and did not exit"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
