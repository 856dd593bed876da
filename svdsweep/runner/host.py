"""What drivers and workers ask of the kernel: whether it has killed for memory; to be woken by a death."""

import ctypes
import signal
import sys
from pathlib import Path


def oom_kills() -> int | None:
    """How many processes the kernel has killed for lack of host memory, here and in this cgroup; None if not told.

    Linux counts them in /proc/vmstat and, for a container's limit, in memory.events of the cgroup."""
    groups = [line for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::/")]
    events = [Path("/sys/fs/cgroup", group.removeprefix("0::/"), "memory.events") for group in groups]
    lines = (line for path in (Path("/proc/vmstat"), *events) for line in _lines(path))
    counts = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return sum(counts) if counts else None


def wake_with_the_parents_death() -> None:
    """Let this process go on, if it is stopped, when the one that started it dies: so it can see that, and end.

    Linux's alone; it is told of the death of the thread that started it too, which SIGCONT makes harmless."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGCONT)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
