"""The life of a worker process: load once, answer jobs, tell the phase, and go when the driver goes."""

import contextlib
import errno
import faulthandler
import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.platforms import host, system
from svdsweep.probes.devices import environment_of
from svdsweep.probes.out_of_memory import is_out_of_memory
from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import Row
from svdsweep.store.secrets import masked, masked_row
from svdsweep.worker.contract import Judge, Load, Slot, Work

FULL = {errno.ENOSPC, errno.EDQUOT}
UNWRITABLE = {*FULL, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
"""What the system says when results cannot be written: no fault of a job, so the sweep stops."""

BOOT = "import sys, json; sys.path[:] = json.loads(sys.argv[3]); from svdsweep.runner.worker_main import main; main()"


def name_of(load: Load) -> str:
    """`module:function` of a load, as the worker's process imports it. Raises UserError for a lambda or a method."""
    module, name = getattr(load, "__module__", ""), getattr(load, "__qualname__", "")
    if not module or not name.isidentifier():
        raise UserError(
            f"load={name or load!r} cannot be imported by a worker: it must be a function of a module."
        )
    return f"{module}:{name}"


def environment(slot: Slot) -> dict[str, str]:
    """The environment of a worker: its device is its only GPU, and its libraries keep to its share of the cores.

    It must stand before the interpreter starts, for torch, OpenMP and CUDA read it when they are loaded."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        # by default a thread spins at the end of each loop, even while the one it waits for has no core to run on: on
        # a busy machine a small model's job of a second takes twenty
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        **environment_of(slot.device),
        **dict.fromkeys(threads, str(slot.threads)),
        "PYTHONUNBUFFERED": "1",  # so that the log has what a killed process printed
        "PYTHONIOENCODING": "utf-8:replace",  # as the log is read; a terminal's own would refuse what a loader prints
    }


def command(pipe: int, lifeline: int) -> list[str]:
    """The command line of a worker, which inherits the ends of the two pipes under these numbers."""
    paths = [path or os.getcwd() for path in sys.path]
    return [sys.executable, "-c", BOOT, str(pipe), str(lifeline), json.dumps(paths)]


def main() -> None:
    """Entry point of a worker's process: `command` says with which arguments."""
    for number in system.signals_of_a_group():
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    host.wake_with_the_parents_death()
    driver, lifeline = system.opened(int(sys.argv[1])), system.opened(int(sys.argv[2]), writable=False)
    sys.argv[1:] = []
    threading.Thread(target=_die_with_the_driver, args=(lifeline,), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the driver has hung up
        serve(driver)


def serve(driver: Connection) -> None:
    """Load what the first message names, then answer jobs until the driver hangs up.

    To the worker: (load, slot), then (job, attempt, alone, facts); the facts are the provenance that the driver knows.
    To the driver: ("ready",) or ("broken", why); for each job ("taken",), any number of ("phase", key, name,
    vram_peak_gib), and ("row", key, json) or ("unwritable", why). Before the row of one that is not `alone` there may
    be ("free",): the next job may come, while its frames are judged."""
    load, slot = driver.recv()
    gc.disable()  # looking for garbage among the libraries is a seventh of what importing them takes
    try:
        work: Work = resolve_name(load)(slot)
    except BaseException as e:
        driver.send(("broken", masked(str(e) if isinstance(e, UserError) else _story(e))))
        return
    gc.enable()
    lock = threading.Lock()

    def send(*message: Any) -> None:
        with lock:
            driver.send(message)

    send("ready")
    judging: threading.Thread | None = None
    while True:
        job, attempt, alone, facts = driver.recv()
        send("taken")
        asked = _Asked(job, attempt, facts, slot.folder)
        answer = asked.answer(partial(work, job, attempt, partial(send, "phase", job.key)))
        if judging:  # one at a time, so that its memory is bounded and rows come in order
            judging.join()
        if callable(answer) and not alone:
            send("free")
            judging = threading.Thread(target=lambda end=answer, of=asked: send(*of.judged(end)), daemon=True)
            judging.start()
        else:
            send(*(asked.judged(answer) if callable(answer) else answer))


@dataclass(frozen=True)
class _Asked:
    """A job that the worker was given."""

    job: Job
    attempt: int
    facts: dict[str, Scalar]
    folder: Path

    def answer(self, work: Callable[[], Row | Judge]) -> tuple[str, ...] | Judge:
        """The message that `work` leads to, whatever becomes of it, or what is left of it."""
        try:
            row = work()
        except BaseException as e:
            return self._fault(e)
        return row if callable(row) else self._message(row)

    def judged(self, judge: Judge) -> tuple[str, ...]:
        """The message after what was left."""
        try:
            return self._message(judge())
        except BaseException as e:
            return self._fault(e)

    def _fault(self, e: BaseException) -> tuple[str, ...]:
        if isinstance(e, OSError) and _is_the_disks(e, self.folder):
            return "unwritable", masked(f"{type(e).__name__}: {e}")
        status = "oom" if is_out_of_memory(e) else "failed"
        return self._message(Row(self.job, status, self.attempt, error=_story(e)))

    def _message(self, row: Row) -> tuple[str, ...]:
        try:
            if not isinstance(row, Row):
                raise TypeError(f"the worker answered {type(row).__name__}, not a Row")
            provenance = {**self.facts, **row.provenance}
            whole = replace(row, job=self.job, attempt=self.attempt, provenance=provenance)
            return "row", self.job.key, masked_row(whole).to_json()
        except Exception as e:
            error = masked(f"The answer cannot be stored. {_story(e)}")
            row = Row(self.job, "failed", self.attempt, error, phase="answer", provenance=self.facts)
            return "row", self.job.key, row.to_json()


def _is_the_disks(e: OSError, folder: Path) -> bool:
    """Whether no other job could write either: a full disk, or no right to write in the sweep's folder."""
    ours = isinstance(e.filename, str | os.PathLike) and Path(e.filename).is_relative_to(folder)
    return e.errno in FULL or (ours and e.errno in UNWRITABLE)


def _story(e: BaseException) -> str:
    """The exception in one line, then where it came from."""
    return f"{type(e).__name__}: {e}\n" + "".join(traceback.format_exception(e)).rstrip()


def _die_with_the_driver(lifeline: Connection) -> None:
    """Wait for the end of file that the driver's death is, then end this process and what it has started."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    system.end_family()
