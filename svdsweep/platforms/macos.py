"""What macOS tells of its machine. Written by its documentation; no Mac has confirmed it yet."""

import os
import platform
import socket
import subprocess
from functools import cache


def identity() -> str:
    """The host's name; a process that was born before the boot is told by its birth."""
    return socket.gethostname()


def oom_kills() -> int | None:
    """They are not counted."""
    return None


def out_of_memory(code: int | None, kills_before: int | None) -> str:
    """Nobody tells."""
    return ""


def begun(pid: int) -> str:
    """Only a clock tells."""
    return ""


def wake_with_the_parents_death() -> None:
    """It cannot be asked for."""


def gpus_chip() -> str | None:
    """Apple's, not Intel's."""
    return cpu_name() if platform.machine() == "arm64" else None


def lists_gpus() -> bool:
    """All that svdsweep can use is the chip's."""
    return True


def cores() -> int:
    """All: there is no affinity mask."""
    return os.cpu_count() or 1


@cache
def cpu_name() -> str | None:
    """The processor's brand: `Apple M2 Pro`."""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return platform.processor() or None


def reset_memory_peak() -> bool:
    """It cannot be."""
    return False


def memory_peak_bytes() -> int | None:
    """This process's alone: of its children the peaks are told when they are dead."""
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
