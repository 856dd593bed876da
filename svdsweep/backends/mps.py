"""Apple's GPU, by torch.mps: it shares the host's memory, has one stream, and counts no peaks."""

import os
from typing import Any

import torch

GIB = 2**30
USUAL_SHARE = 1.7
"""What PyTorch lets a process take, as a multiple of what Metal recommends (PYTORCH_MPS_HIGH_WATERMARK_RATIO)."""


class Mps:
    """The answers of `torch.mps`."""

    blind = (
        "Metal counts no peaks: vram_allocated_peak_gib is empty, and vram_reserved_peak_gib is the most that the "
        "driver had given when a stage ended; energy, clocks and temperature are empty too"
    )
    streams: Any = None
    kind = "mps"

    def available(self) -> bool:
        """By PyTorch's own word."""
        return bool(torch.backends.mps.is_available())

    def facts(self, device: torch.device) -> dict[str, str | float | None]:
        """The chip's name is the processor's, and what Metal recommends to take stands for the memory."""
        return {
            "gpu": None,
            "gpu_memory_gib": torch.mps.recommended_max_memory() / GIB,
            "gpu_capability": None,
        }

    def allocated(self, device: torch.device) -> int | None:
        """Counted by PyTorch."""
        return int(torch.mps.current_allocated_memory())

    def peaks(self, device: torch.device) -> tuple[int | None, int | None] | None:
        """No peak of tensors. What the driver has given grows until the cache is emptied, so its size now is its peak,
        but for what was given back under pressure."""
        return None, int(torch.mps.driver_allocated_memory())

    def reset_peaks(self, device: torch.device) -> None:
        """There are none."""

    def highest(self, device: torch.device) -> int | None:
        """Not counted."""
        return None

    def pinned_peak(self) -> int | None:
        """Nothing is page-locked: host and GPU share their memory."""
        return None

    def free_and_total(self, device: torch.device) -> tuple[int, int]:
        """What Metal recommends, and what is left of it for this process."""
        total = int(torch.mps.recommended_max_memory())
        return max(0, total - int(torch.mps.driver_allocated_memory())), total

    def cap(self, device: torch.device, limit: int | None) -> None:
        """A multiple of what Metal recommends, of which 0 would mean without limit."""
        usual = float(os.environ.get("PYTORCH_MPS_HIGH_WATERMARK_RATIO", USUAL_SHARE))
        share = usual if limit is None else limit / torch.mps.recommended_max_memory()
        torch.mps.set_per_process_memory_fraction(min(2.0, share))

    def empty_cache(self) -> None:
        """Metal's buffers that nothing uses."""
        torch.mps.empty_cache()

    def synchronize(self, device: torch.device) -> None:
        """There is one device."""
        torch.mps.synchronize()

    def mark(self, device: torch.device) -> Any:
        """An event on the one stream."""
        event = torch.mps.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """By Metal's clock."""
        return float(begin.elapsed_time(end)) / 1000
