"""The questions to a device. What a backend cannot tell is None, never 0."""

from typing import Any, Protocol

import torch


class Backend(Protocol):
    """One way of asking; sizes are bytes, and a device may be any of the backend's type."""

    @property
    def blind(self) -> str:
        """What it cannot measure, and why, in a sentence for the row's notes; empty where it can all."""
        ...

    @property
    def streams(self) -> Any:
        """The module with `Stream`, `stream` and `current_stream`, by which copies go beside the work; None without."""
        ...

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` (NVIDIA), `rocm` (AMD), `xpu` (Intel) or `mps` (Apple)."""
        ...

    def available(self) -> bool:
        """Whether PyTorch sees such a device in this process."""
        ...

    def facts(self, device: torch.device) -> dict[str, str | float | None]:
        """`gpu` (its name), `gpu_memory_gib`, `gpu_capability` and more, for a row's provenance; empty on the host."""
        ...

    def allocated(self, device: torch.device) -> int | None:
        """Memory that tensors hold now."""
        ...

    def peaks(self, device: torch.device) -> tuple[int | None, int | None] | None:
        """The most since `reset_peaks` that tensors held, and that the allocator reserved; None on the host."""
        ...

    def reset_peaks(self, device: torch.device) -> None:
        """Forget the peaks; nothing waits for that."""
        ...

    def highest(self, device: torch.device) -> int | None:
        """The most that tensors held since this was last asked or `reset_peaks` was called, which it does too, so that
        `peaks` know no more of it; cheap enough to be asked after each module. None where it is not counted."""
        ...

    def pinned_peak(self) -> int | None:
        """The most page-locked host memory at once since the process began."""
        ...

    def free_and_total(self, device: torch.device) -> tuple[int, int]:
        """Memory that is free now, and all there is."""
        ...

    def cap(self, device: torch.device, limit: int | None) -> None:
        """Let the allocator take at most so much; None takes an earlier cap back."""
        ...

    def empty_cache(self) -> None:
        """Give what the allocator keeps for later back to the driver."""
        ...

    def synchronize(self, device: torch.device) -> None:
        """Wait until all that the device was given is done."""
        ...

    def mark(self, device: torch.device) -> Any:
        """A point in time, or in the device's work, without waiting."""
        ...

    def seconds(self, begin: Any, end: Any) -> float:
        """The seconds from one mark to a later one, once both are in the past."""
        ...
