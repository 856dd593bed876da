"""The host's processor: its work is done when a call returns, and its allocator counts nothing."""

import time
from typing import Any

import psutil
import torch


class Cpu:
    """The answers of a CPU."""

    blind = ""
    streams: Any = None
    kind = "cpu"

    def available(self) -> bool:
        """Always."""
        return True

    def facts(self, device: torch.device) -> dict[str, str | float | None]:
        """Nothing: there is no GPU."""
        return {}

    def allocated(self, device: torch.device) -> int | None:
        """Not counted."""
        return None

    def peaks(self, device: torch.device) -> tuple[int | None, int | None] | None:
        """Not counted."""
        return None

    def reset_peaks(self, device: torch.device) -> None:
        """Nothing to forget."""

    def highest(self, device: torch.device) -> int | None:
        """Not counted."""
        return None

    def pinned_peak(self) -> int | None:
        """Not counted."""
        return None

    def free_and_total(self, device: torch.device) -> tuple[int, int]:
        """The host's memory."""
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def cap(self, device: torch.device, limit: int | None) -> None:
        """There is no cap: `memory.conflicts` refuses to ask for one."""

    def empty_cache(self) -> None:
        """Nothing is kept."""

    def synchronize(self, device: torch.device) -> None:
        """Nothing to wait for."""

    def mark(self, device: torch.device) -> Any:
        """The host's monotonic clock."""
        return time.perf_counter()

    def seconds(self, begin: Any, end: Any) -> float:
        """The difference."""
        return float(end - begin)
