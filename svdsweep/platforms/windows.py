"""Windows, both as a system and as a host.

Written by CPython's and Microsoft's documentation and tried in emulation; no Windows has confirmed it yet."""

import multiprocessing.connection
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import psutil

# what these modules have on Windows only, so that this file is checked everywhere
_connection: Any = multiprocessing.connection
_os: Any = os
_signal: Any = signal
_subprocess: Any = subprocess

STATUSES = {
    0xC0000005: "access violation",
    0xC0000006: "a page could not be read from the disk",
    0xC0000017: "out of memory",
    0xC000001D: "illegal instruction",
    0xC0000094: "integer division by zero",
    0xC00000FD: "stack overflow",
    0xC000012D: "out of memory: the paging file is full",
    0xC0000135: "a DLL is missing",
    0xC000013A: "ended by Ctrl-C or the closing of its console",
    0xC0000142: "a DLL could not be initialised",
    0xC0000374: "heap corruption",
    0xC0000409: "stack buffer overrun, or an abort",
}
"""NTSTATUS values that processes end with, from Microsoft's list in [MS-ERREF]."""
OUT_OF_MEMORY = (0xC0000017, 0xC000012D)
PATIENCE_S = 3.0
"""How long a file that another program has open is tried: scanners and indexers let go in a moment."""


class Process(subprocess.Popen[bytes]):
    """A process that knows its birth, by which its children are told from those of an earlier one of its number."""

    born = float("inf")

    def kill_family(self) -> None:
        """Kill it and what it has started, and wait until it is gone."""
        family = _family(self.pid, self.born)
        self.kill()
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        self.wait()


def start(
    command: Sequence[str], ends: Sequence[Connection], environment: Mapping[str, str], log: BinaryIO
) -> Process:
    """Start a process in a group and with a console of its own, so that neither Ctrl-C nor Ctrl-Break reach it.

    In a virtual environment python.exe only starts the real one, which is started here directly, as multiprocessing
    does: its number, memory and exit code are the worker's."""
    base = getattr(sys, "_base_executable", sys.executable)
    if command[0] == sys.executable != base:
        command, environment = [base, *command[1:]], {**environment, "__PYVENV_LAUNCHER__": sys.executable}
    handles = [end.fileno() for end in ends]
    for handle in handles:
        _os.set_handle_inheritable(handle, True)
    process = Process(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        startupinfo=_subprocess.STARTUPINFO(lpAttributeList={"handle_list": handles}),
        creationflags=_subprocess.CREATE_NEW_PROCESS_GROUP | _subprocess.CREATE_NO_WINDOW,
    )
    with suppress(psutil.Error):  # dead at once
        process.born = psutil.Process(process.pid).create_time()
    return process


def opened(number: int, writable: bool = True) -> Connection:
    """The end of a pipe with this handle."""
    _os.set_handle_inheritable(number, False)
    end: Connection = _connection.PipeConnection(number, writable=writable)
    return end


def end_family() -> NoReturn:
    """Kill what this process has started, and itself without the farewells of its libraries, which may hang."""
    this = psutil.Process()
    for process in [*this.children(recursive=True), this]:
        with suppress(psutil.Error):
            process.kill()
    raise AssertionError("alive after a kill")


def ending(code: int | None) -> str:
    """An exit code; of an NTSTATUS its hexadecimal form and its meaning."""
    if code is None:
        return "it closed its pipe and did not exit"
    if code < 0x40000000:
        return f"exit code {code}"
    meaning = STATUSES.get(code)
    return f"exit code 0x{code:08X}" + (f" ({meaning})" if meaning else "")


def met_size_limit(code: int) -> bool:
    """There is no such limit."""
    return False


def how_to_end(pid: int, at_once: bool = False) -> str:
    """By force: a program in a console heeds nothing else from outside it."""
    return f"taskkill /F /PID {pid}"


def oom_kills() -> int | None:
    """Windows kills nobody for memory: it refuses it."""
    return None


def out_of_memory(code: int | None, kills_before: int | None) -> str:
    """A process that cannot go on without the memory it was refused says so by its exit code."""
    return "Windows had no memory left for" if code in OUT_OF_MEMORY else ""


def stop_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C and Ctrl-Break."""
    return signal.SIGINT, _signal.SIGBREAK


def signals_of_a_group() -> tuple[signal.Signals, ...]:
    """The same, in case a worker shares the driver's console."""
    return stop_signals()


def identity() -> str:
    """The host's name; a process that was born before the boot is told by its birth."""
    return socket.gethostname()


def begun(pid: int) -> str:
    """Only a clock tells."""
    return ""


def wake_with_the_parents_death() -> None:
    """It cannot be asked for, and nobody stops processes here."""


def gpus_chip() -> str | None:
    """GPUs are devices apart."""
    return None


def lists_gpus() -> bool:
    """It does not."""
    return False


def cores() -> int:
    """Those of the affinity mask."""
    return len(psutil.Process().cpu_affinity() or ()) or os.cpu_count() or 1


def cpu_name() -> str | None:
    """Family, model and stepping."""
    return platform.processor() or None


def reset_memory_peak() -> bool:
    """It cannot be."""
    return False


def memory_peak_bytes() -> int | None:
    """The sum of the processes' largest working sets."""
    this, peaks = psutil.Process(), []
    for process in [this, *this.children(recursive=True)]:
        with suppress(psutil.Error):
            peaks.append(getattr(process.memory_info(), "peak_wset", None))
    return sum(peak for peak in peaks if peak) or None


def replace(part: Path, path: Path) -> None:
    """Rename as soon as nobody has the old file open, for which Windows refuses it."""
    _patiently(lambda: os.replace(part, path), path)


def remove(path: Path) -> None:
    """Remove as soon as nobody has the file open, for which Windows refuses it."""
    _patiently(lambda: path.unlink(missing_ok=True), path)


def _patiently(action: Callable[[], None], path: Path) -> None:
    """Try again while access is denied. Raises the PermissionError after `PATIENCE_S`, with what to do as a note."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return action()
        except PermissionError as e:
            if time.monotonic() > end:
                e.add_note(f"If another program has {path.name} open, close it there.")
                raise
        time.sleep(0.05)


def _family(pid: int, born: float) -> list[psutil.Process]:
    """What a process has started, and what that has; Windows remembers its number as theirs also when it is dead."""
    living = list(psutil.process_iter(["ppid", "create_time"]))
    family, parents = [], [(pid, born)]
    for parent, since in parents:
        ours = [p for p in living if p.info["ppid"] == parent and (p.info["create_time"] or 0.0) >= since]
        family += ours
        parents += [(p.pid, p.info["create_time"]) for p in ours]
    return family
