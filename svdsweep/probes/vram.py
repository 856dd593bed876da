"""Device and host memory as PyTorch's allocator, the driver and the kernel count it; None where it cannot be read."""

import gc
from dataclasses import dataclass

import torch

from svdsweep.backends import backend_of
from svdsweep.platforms import host

GIB = 2**30


@dataclass(frozen=True)
class Peak:
    """Most device memory since the last reset (GiB): held by tensors (None where the device counts no such peak), and
    reserved by the allocator from the driver (None where some of it was kept from another job)."""

    allocated_gib: float | None
    reserved_gib: float | None


def reset_peak(device: torch.device) -> None:
    """Forget the allocator's peaks; the counters live on the host, so nothing waits. No-op on the CPU."""
    backend_of(device).reset_peaks(device)


def read_peak(device: torch.device) -> Peak | None:
    """The allocator's peaks since `reset_peak`; None on the CPU, whose allocator does not count."""
    peaks = backend_of(device).peaks(device)
    return Peak(*map(_gib, peaks)) if peaks else None


def empty_cache(device: torch.device) -> None:
    """Collect garbage, and give what the allocator keeps for later back to the driver."""
    gc.collect()
    backend_of(device).empty_cache()


def allocated_gib(device: torch.device) -> float | None:
    """Device memory held by tensors now."""
    return _gib(backend_of(device).allocated(device))


def pinned_peak_gib(device: torch.device) -> float | None:
    """Most page-locked host memory that PyTorch held at once since the process began; None where it is not counted."""
    return _gib(backend_of(device).pinned_peak())


def free_gib(device: torch.device) -> float:
    """Memory of the device that is free now."""
    return backend_of(device).free_and_total(device)[0] / GIB


def cap(device: torch.device, limit_gib: float | None) -> None:
    """Let the allocator take at most `limit_gib` of the device (all of it for None); more ends in an OOM.

    The CUDA context and other libraries' workspaces do not count, as they do not in the allocator's peaks."""
    backend_of(device).cap(device, None if limit_gib is None else int(limit_gib * GIB))


def reset_host_peak() -> bool:
    """Have the system begin a new peak of this process's memory; False where it cannot: the peak is then that of the
    process's whole life."""
    return host.reset_memory_peak()


def host_peak_gib() -> float | None:
    """Peak resident memory of this process since `reset_host_peak`, plus its living children's where that is told."""
    peak = host.memory_peak_bytes()
    return peak / GIB if peak is not None else None


def _gib(nbytes: int | None) -> float | None:
    return None if nbytes is None else nbytes / GIB
