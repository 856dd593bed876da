"""What the house asks of an operating system: workers' processes and their ends, what it tells of the machine."""

import signal
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol


class Process(Protocol):
    """A process that `System.start` has started: a `subprocess.Popen` that can be killed with all it has started."""

    pid: int

    def poll(self) -> int | None:
        """The exit code; None while it lives."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        ...

    def kill_family(self) -> None:
        """Kill it, dead or alive, and what it has started, and wait until it is gone."""
        ...


class System(Protocol):
    """How processes, signals and files behave: `posix.py`, `windows.py`."""

    def start(
        self,
        command: Sequence[str],
        ends: Sequence[Connection],
        environment: Mapping[str, str],
        log: BinaryIO,
    ) -> Process:
        """Start a process that a terminal's Ctrl-C does not reach and that prints into `log`.

        It inherits the `ends` of pipes alone; their `fileno()` is what it opens them by. Raises OSError."""
        ...

    def opened(self, number: int, writable: bool = True) -> Connection:
        """The end of a pipe that this process has inherited; what it starts does not inherit it in turn."""
        ...

    def end_family(self) -> NoReturn:
        """Kill this process, which `start` has started, and what it has started."""
        ...

    def ending(self, code: int | None) -> str:
        """An exit code in words; None is of a process that has closed its pipe and does not end."""
        ...

    def met_size_limit(self, code: int) -> bool:
        """Whether a process ended because a file would have become larger than it may write."""
        ...

    def how_to_end(self, pid: int, at_once: bool = False) -> str:
        """The command that ends a process, `at_once` also one that heeds nothing."""
        ...

    def stop_signals(self) -> tuple[signal.Signals, ...]:
        """The signals by which a user or a system asks a program to end."""
        ...

    def signals_of_a_group(self) -> tuple[signal.Signals, ...]:
        """The signals that a worker passes over, for its driver is asked too and ends it."""
        ...

    def replace(self, part: Path, path: Path) -> None:
        """Rename a file over another, if there is one. Raises OSError."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file that may be gone. Raises OSError."""
        ...


class Host(Protocol):
    """What the machine's kernel tells and does: `linux.py`, `macos.py`, `windows.py`."""

    def identity(self) -> str:
        """A name of this machine for as long as its process numbers hold: two containers, or two boots, have two."""
        ...

    def begun(self, pid: int) -> str:
        """When a living process began, by a count that no clock moves; empty where only a clock tells."""
        ...

    def wake_with_the_parents_death(self) -> None:
        """Let this process go on, if it is stopped, when the one that started it dies: so it can see that, and end."""
        ...

    def gpus_chip(self) -> str | None:
        """The name of the chip that holds the GPU and shares its memory with it; None where GPUs are devices apart."""
        ...

    def lists_gpus(self) -> bool:
        """Whether the system itself tells which GPUs there are."""
        ...

    def cores(self) -> int:
        """The CPU cores that the system lets this process use."""
        ...

    def cpu_name(self) -> str | None:
        """The processor, as precisely as the system tells."""
        ...

    def reset_memory_peak(self) -> bool:
        """Have the system begin a new peak of this process's memory; False where it cannot."""
        ...

    def memory_peak_bytes(self) -> int | None:
        """Peak resident memory of this process and its living children since the last reset, else of their lives."""
        ...

    def oom_kills(self) -> int | None:
        """How many processes the system has killed here for lack of host memory; None where it does not count them."""
        ...

    def out_of_memory(self, code: int | None, kills_before: int | None) -> str:
        """Who ended a process for lack of host memory, as a sentence's subject and verb; empty if nobody did.

        `code` is its exit code, `kills_before` what `oom_kills` said before."""
        ...
