"""What Linux tells of its machine, in /proc, and of its out-of-memory killer."""

import ctypes
import os
import platform
import re
import signal
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

OOM_KILL = re.compile(r"\noom_kill (\d+)\n")
"""Found by its first characters, while `^` would be tried at each of four thousand: this is asked for every job."""


@cache
def identity() -> str:
    """The host's name, the boot and the space of process numbers."""
    boot = "".join(_lines(Path("/proc/sys/kernel/random/boot_id")))
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{boot.strip()}/{space}"


def oom_kills() -> int | None:
    """The kernel counts them in /proc/vmstat and, for a container's limit, in memory.events of the cgroup."""
    counts = [int(count) for path in _counters() for count in OOM_KILL.findall(f"\n{_text(path)}")]
    return sum(counts) if counts else None


@cache
def _counters() -> list[Path]:
    groups = [line for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::/")]
    events = [Path("/sys/fs/cgroup", group.removeprefix("0::/"), "memory.events") for group in groups]
    return [path for path in (Path("/proc/vmstat"), *events) if _text(path)]


def out_of_memory(code: int | None, kills_before: int | None) -> str:
    """The kernel kills as anyone does, but counts."""
    now = oom_kills() if code == -signal.SIGKILL else None
    killed = now is not None and kills_before is not None and now > kills_before
    return "The kernel's out-of-memory killer ended" if killed else ""


def begun(pid: int) -> str:
    """In ticks since the boot, behind the time namespace in which they were counted.

    Linux derives the time of birth from it and the wall clock, so that that one moves."""
    ticks, space = Path(f"/proc/{pid}/stat"), Path("/proc/self/ns/time")
    if not ticks.exists():
        return ""
    count = ticks.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return f"{os.readlink(space) if space.exists() else ''} {count}"


def wake_with_the_parents_death() -> None:
    """By a signal; it is told of the death of the thread that started it too, which SIGCONT makes harmless."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGCONT)


def gpus_chip() -> str | None:
    """GPUs are devices apart."""
    return None


def lists_gpus() -> bool:
    """But under WSL."""
    return not Path("/dev/dxg").exists()


def cores() -> int:
    """Those of the affinity mask."""
    return len(os.sched_getaffinity(0))


@cache
def cpu_name() -> str | None:
    """The model's name in /proc/cpuinfo; the architecture where that has none, as on ARM."""
    names = (line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name"))
    return next((line.split(":", 1)[1].strip() for line in names), platform.processor() or None)


def reset_memory_peak() -> bool:
    """By /proc/self/clear_refs, which some containers hide."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8", newline="\n")
    except OSError:
        return False
    return True


def memory_peak_bytes() -> int | None:
    """The sum of the processes' high-water marks."""
    import psutil  # whose own part for Linux needs modules of Linux

    pids = ["self", *(str(child.pid) for child in psutil.Process().children(recursive=True))]
    peaks = [peak for pid in pids if (peak := _high_water_bytes(pid)) is not None]
    return sum(peaks) if peaks else None


def _high_water_bytes(pid: str) -> int | None:
    lines = _lines(Path(f"/proc/{pid}/status"))
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _text(path: Path) -> str:
    try:
        with open(path, "rb", buffering=0) as f:
            return f.read().decode()
    except OSError:
        return ""
