"""The driver's side of a worker: the process on a slot is started, given jobs, heard and killed."""

import contextlib
import re
import subprocess
import time
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import orjson

from svdsweep.config import Job, Runner
from svdsweep.memory.conflicts import needs_fresh_process
from svdsweep.platforms import system
from svdsweep.platforms.contract import Process
from svdsweep.runner.contract import TICK_S, Watch
from svdsweep.runner.given_job import GivenJob
from svdsweep.runner.worker_main import command, environment
from svdsweep.store.files import clear_unfinished
from svdsweep.store.logs import tail
from svdsweep.store.places import preview_of
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Slot

STARTS = 2
"""Starts in a row without a job taken, after which a slot is given up."""

TAIL_LINES = 20
SPOILT = re.compile(
    r"(?i)(CUDA|HIP) error|level_zero backend failed|(CUDNN|CUBLAS)_STATUS|device-side assert|illegal memory access"
)
"""Failures that leave the context of a GPU unusable: every later job of that process would fail too."""


class Unwritable(OSError):
    """Results cannot be written, whichever process found out: the sweep stops, and what is stored stays."""


class WorkerProcess:
    """A worker as its driver sees it: one slot, and the processes that sit on it one after the other.

    The engine calls `start`, waits for `pipe` to be readable, calls `step`, and gives a job when `idle`.
    Whatever happens to a job that was given, `step` returns a row for it, or `returned` holds it: not begun, or by no
    fault of its own not ended."""

    def __init__(self, name: str, slot: Slot, load: str, options: Runner, watch: Watch) -> None:
        self.name, self.slot, self.load, self.options, self.watch = name, slot, load, options, watch
        self.log = slot.folder / "logs" / f"{name}.log"
        self.pipe: Connection | None = None
        self.given: GivenJob | None = None
        """The job that the present process was given last."""
        self.job: Job | None = None
        """The job under way."""
        self.judged: GivenJob | None = None
        """The one before it, whose frames are judged beside it."""
        self.returned: list[Job] = []
        self.cause = ""
        """Why the last start failed."""
        self._process: Process | None = None
        self._lifeline: Connection | None = None
        """The system closes it when this process dies, however it does, and the worker ends itself."""
        self._ready = self._spoilt = False
        self._failed_starts = 0
        self._deadline = float("inf")
        self._looks_at = 0.0
        self._log_from = 0
        self._idle_since = 0.0
        self.took_s = 0.0
        """How long the device had the job of the last row."""
        self.line = ""
        """The line of the last row, if the worker wrote all that is in it."""

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
        """Whether no process sits on the slot."""
        return self._process is None

    @property
    def lost(self) -> bool:
        """Whether its processes do not come up."""
        return self._failed_starts >= STARTS

    def start(self) -> None:
        """Start a process; it is `idle` when it has loaded. Raises OSError when its log cannot be written."""
        self.pipe, theirs = Pipe()
        lifeline, self._lifeline = Pipe(duplex=False)
        # left open, `theirs` would hide its death
        with theirs, lifeline, self.log.open("ab", buffering=0) as log:
            log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {self.slot.device}\n".encode())
            line = command(theirs.fileno(), lifeline.fileno())
            self._process = system.start(line, (theirs, lifeline), environment(self.slot), log)
        self._ready, self._spoilt, self.given, self.cause = False, False, None, ""
        self._send((self.load, self.slot), self.options.start_timeout_s)

    def give(self, job: Job, attempt: int, alone: bool = True) -> None:
        """Hand over a job, to be called when `idle`. Beside one that is `alone`, none is done while it is judged."""
        self.job, self.given = job, GivenJob(job, attempt, self.name, self.slot.device)
        self._send((job, attempt, alone, self.given.facts), self.options.timeout_s)

    def step(self, readable: bool) -> Row | None:
        """Take one message, or see a death or a deadline; returns the row of a job that ended by it.

        For a death and a deadline it looks once in `TICK_S`, however often it is called for what others send.
        Raises Unwritable when the worker could not write its results."""
        assert self.pipe is not None
        assert self._process is not None
        if not readable and time.monotonic() < self._looks_at:
            return None
        dead = not readable and self._process.poll() is not None
        try:  # its last words come before its death
            message = self.pipe.recv() if readable or (dead and self.pipe.poll()) else None
        except (EOFError, OSError):  # OSError: it died in the middle of a message
            message, dead = None, True
        if message:
            return self._hear(message)
        if dead:
            return self._died(self._process)
        self._looks_at = time.monotonic() + TICK_S
        if time.monotonic() > min([self._deadline, *(given.deadline for given in self._in_hand())]):
            return self._late()
        for given in self._in_hand():
            given.look(self._process.pid)
        return None

    def stop(self) -> None:
        """Kill the process and all that it has started; a job under way is forgotten, and what it was writing goes."""
        was_busy = bool(self._in_hand())
        self._rest()
        self.judged = None
        if self._process is not None:
            self._process.kill_family()
            if was_busy:
                clear_unfinished(self.slot.folder)
                if self.given:
                    preview_of(self.slot.folder, self.given.job.key).unlink(missing_ok=True)
        for end in (self.pipe, self._lifeline):
            if end is not None:
                end.close()
        self.pipe = self._lifeline = self._process = None
        self._ready = False

    def needs_fresh_process(self, job: Job) -> bool:
        """Whether the present process may not take this job: it is spoilt, or what it has loaded cannot be undone."""
        if self.given is None:
            return False
        if self._spoilt or self.options.isolation == "job":
            return True
        last = self.given.job
        return last.pipeline_key != job.pipeline_key and (
            self.options.isolation == "settings" or any(map(needs_fresh_process, (last.memory, job.memory)))
        )

    def _send(self, message: Any, limit_s: float | None) -> None:
        """Send a message that must be answered within a limit; what the log holds until now is not of its tail."""
        assert self.pipe is not None
        self._deadline = time.monotonic() + (limit_s or float("inf"))
        self._log_from = self._log_size()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # dead: the next step sees it
            self.pipe.send(message)

    def _hear(self, message: tuple[Any, ...]) -> Row | None:
        match message:
            case ("ready",):
                self._ready = True
                self._rest()
            case ("broken", cause):
                self.cause = cause
            case ("taken",) if self.job and self.given:
                self.given.begun, self._failed_starts = True, 0
                self.watch.started(self.name, self.job, self.given.attempt)
            case ("phase", key, phase, vram_peak_gib) if given := self._given(key):
                given.reached(phase, vram_peak_gib)
                if given is not self.judged:
                    self.watch.reached(self.name, self._with_preview(phase, key), vram_peak_gib)
            case ("free",) if self.given:
                self.given.ran()
                self.judged, self.given.deadline = self.given, self._deadline
                self._rest()
            case ("row", key, text) if given := self._given(key):
                return self._answered(given, text)
            case ("unwritable", why):
                raise Unwritable(why)
        return None

    def _with_preview(self, phase: str, key: str) -> str:
        """A phase as it is shown, with the picture of a job that has one."""
        shown = self.slot.preview and phase == "denoise"
        return f"{phase} ({preview_of(self.slot.folder, key)})" if shown else phase

    def _answered(self, given: GivenJob, line: str) -> Row:
        row = Row.from_plain(plain := orjson.loads(line))
        unusable = row.status == "failed" and SPOILT.search(row.error)
        self._spoilt = self._spoilt or row.status == "oom" or bool(unusable)
        if given is self.judged:
            self.judged = None
        else:
            self._rest()
        whole = given.answered(row)
        is_all = whole == row and row.status == plain["status"]
        return self._ended(given, whole, line if is_all else "")

    def _in_hand(self) -> list[GivenJob]:
        """What the process has not ended: the job that is judged, and the one under way."""
        given = self.given if self.job else None
        return [each for each in (self.judged, given) if each]

    def _given(self, key: str) -> GivenJob | None:
        return next((given for given in self._in_hand() if given.job.key == key), None)

    def _ended(self, given: GivenJob, row: Row, line: str = "") -> Row:
        given.ran()
        self.took_s, self.line = given.took_s, line
        return row

    def _rest(self) -> None:
        self.job, self._deadline, self._idle_since = None, float("inf"), time.monotonic()

    def _died(self, process: Process) -> Row | None:
        """The process has ended by itself."""
        try:
            code = process.wait(timeout=10)  # its exit code, which killing it now would replace
        except subprocess.TimeoutExpired:
            code = None
        in_hand, was_ready = self._in_hand(), self._ready
        begun = [given for given in in_hand if given.begun]
        self.stop()
        if len(begun) == 1:
            self.returned = [given.job for given in in_hand if given not in begun]
            return self._ended(begun[0], begun[0].crashed(code, self._tail()))
        self.returned = [given.job for given in in_hand]
        if begun:  # whose fault it was nobody can tell
            return None
        job = self.returned
        self._failed_starts += 1
        when = "while starting" if not was_ready else "before it took its job" if job else "without a job"
        self.cause = self.cause or f"the worker ended {when}: {system.ending(code)}\n{self._tail()}"
        return None

    def _late(self) -> Row | None:
        """The process is not ready, or has not answered, in time."""
        in_hand = self._in_hand()
        late = [given for given in in_hand if time.monotonic() > given.deadline] or in_hand[-1:]
        self.stop()
        for given in late:
            self.returned = [other.job for other in in_hand if other is not given]
            row = given.lost("timeout", f"no answer in {self.options.timeout_s:g} s", self._tail())
            return self._ended(given, row)
        self._failed_starts += 1
        self.cause = f"the worker was not ready after {self.options.start_timeout_s:g} s\n{self._tail()}"
        return None

    def _log_size(self) -> int:
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0

    def _tail(self) -> str:
        """What the worker printed since its start or its job began; the last lines."""
        return tail(self.log, TAIL_LINES, self._log_from)
