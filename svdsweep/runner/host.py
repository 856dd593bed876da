"""What the driver asks of its own machine: who it is, and whether the kernel has killed for memory."""

import os
import socket
from functools import cache
from pathlib import Path


@cache
def identity() -> str:
    """A name of this machine for as long as its process numbers hold: two containers, or two boots, have two."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    boot_id = boot.read_text().strip() if boot.exists() else ""
    return f"{socket.gethostname()}/{boot_id}/{os.readlink(space) if space.exists() else ''}"


def oom_kills() -> int | None:
    """How many processes the kernel has killed for lack of host memory, here and in this cgroup; None if not told.

    Linux counts them in /proc/vmstat and, for a container's limit, in memory.events of the cgroup."""
    counts = [
        int(value)
        for path in (Path("/proc/vmstat"), *_cgroup_events())
        for name, _, value in (line.partition(" ") for line in _lines(path))
        if name == "oom_kill"
    ]
    return sum(counts) if counts else None


@cache
def _cgroup_events() -> tuple[Path, ...]:
    own = [line.split("::", 1)[1] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")]
    return tuple(Path("/sys/fs/cgroup") / path.lstrip("/") / "memory.events" for path in own)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
