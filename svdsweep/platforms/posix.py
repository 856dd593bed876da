"""How processes, signals and files behave on Linux and macOS."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, NoReturn


class Process(subprocess.Popen[bytes]):
    """A process that leads a session of its own."""

    def kill_family(self) -> None:
        """Kill its session, which outlives it, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


def start(
    command: Sequence[str], ends: Sequence[Connection], environment: Mapping[str, str], log: BinaryIO
) -> Process:
    """Start a process in a session of its own: Ctrl-C does not reach it, and what it starts is killed with it."""
    return Process(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[end.fileno() for end in ends],
        start_new_session=True,
    )


def opened(number: int, writable: bool = True) -> Connection:
    """The end of a pipe with this descriptor."""
    os.set_inheritable(number, False)
    return Connection(number, writable=writable)


def end_family() -> NoReturn:
    """Kill this process's session."""
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("alive after a kill")


def ending(code: int | None) -> str:
    """An exit code, or the name of the signal that ended the process."""
    if code is None:
        return "it closed its pipe and did not exit"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def met_size_limit(code: int) -> bool:
    """By its signal."""
    return code == -signal.SIGXFSZ


def how_to_end(pid: int, at_once: bool = False) -> str:
    """By a signal."""
    return f"kill -9 {pid}" if at_once else f"kill {pid}"


def stop_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C, and what `kill`, batch systems and a shutdown send."""
    return signal.SIGINT, signal.SIGTERM


def signals_of_a_group() -> tuple[signal.Signals, ...]:
    """What SLURM sends to all processes of a step."""
    return signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2


def replace(part: Path, path: Path) -> None:
    """Rename; who has the old file open keeps it."""
    os.replace(part, path)


def remove(path: Path) -> None:
    """Remove; who has the file open keeps it."""
    path.unlink(missing_ok=True)
