"""torch.cuda, which is NVIDIA's or (in PyTorch for ROCm) AMD's, and torch.xpu, which has the same names for Intel's."""

import importlib.util
from typing import Any

import torch

GIB = 2**30


class LikeCuda:
    """The answers of `torch.<name>`."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def kind(self) -> str:
        """ROCm's is told by its build of PyTorch alone."""
        return "rocm" if self.name == "cuda" and torch.version.hip else self.name

    @property
    def blind(self) -> str:
        """Energy and clocks are the driver's: see `svdsweep.probes.environment.state_of`."""
        if self.kind == "rocm" and importlib.util.find_spec("amdsmi") is None:
            return "energy, clocks and temperature are empty: ROCm's Python package amdsmi is not installed"
        return (
            "energy, clocks and temperature are empty: Intel's driver is not asked"
            if self.name == "xpu"
            else ""
        )

    @property
    def streams(self) -> Any:
        """The module itself."""
        return getattr(torch, self.name)

    def available(self) -> bool:
        """By PyTorch's own word."""
        return bool(self.streams.is_available())

    def facts(self, device: torch.device) -> dict[str, str | float | None]:
        """NVIDIA's capability is a number (`9.0`), AMD's the name of an architecture (`gfx1100`), Intel tells none."""
        card = self.streams.get_device_properties(device)
        facts = {"gpu": str(card.name), "gpu_memory_gib": card.total_memory / GIB, "gpu_capability": None}
        if self.kind == "cuda":
            return facts | {"gpu_capability": f"{card.major}.{card.minor}"}
        if self.kind == "rocm":
            return facts | {"gpu_capability": card.gcnArchName.partition(":")[0], "hip": torch.version.hip}
        return facts | {"driver": getattr(card, "driver_version", None)}

    def allocated(self, device: torch.device) -> int | None:
        """Counted by the allocator."""
        return int(self.streams.memory_allocated(device))

    def peaks(self, device: torch.device) -> tuple[int | None, int | None] | None:
        """Counted by the allocator."""
        return self.streams.max_memory_allocated(device), self.streams.max_memory_reserved(device)

    def reset_peaks(self, device: torch.device) -> None:
        """The counters live on the host."""
        self.streams.reset_peak_memory_stats(device)

    def highest(self, device: torch.device) -> int | None:
        """Counted by the allocator; its statistics as they are nested, which takes a tenth of sorting them out."""
        counted = self.streams.memory_stats_as_nested_dict(device).get("allocated_bytes")
        self.streams.reset_peak_memory_stats(device)
        return int(counted["all"]["peak"]) if counted else None

    def pinned_peak(self) -> int | None:
        """Counted by `torch.cuda` alone, and not by every release."""
        if not hasattr(self.streams, "host_memory_stats"):
            return None
        peak = self.streams.host_memory_stats().get("allocated_bytes.peak")
        return int(peak) if peak is not None else None

    def free_and_total(self, device: torch.device) -> tuple[int, int]:
        """By the driver, so other processes count."""
        free, total = self.streams.mem_get_info(device)
        return free, total

    def cap(self, device: torch.device, limit: int | None) -> None:
        """A share of the device's memory."""
        total = self.streams.get_device_properties(device).total_memory
        share = 1.0 if limit is None else min(1.0, limit / total)
        self.streams.set_per_process_memory_fraction(share, device)

    def empty_cache(self) -> None:
        """Of the current device, which is a worker's only one."""
        self.streams.empty_cache()

    def synchronize(self, device: torch.device) -> None:
        """All streams."""
        self.streams.synchronize(device)

    def mark(self, device: torch.device) -> Any:
        """An event on the current stream."""
        event = self.streams.Event(enable_timing=True)
        event.record(self.streams.current_stream(device))
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """By the device's own clock."""
        return float(begin.elapsed_time(end)) / 1000
