"""Device and host memory as PyTorch's allocator, the driver and the kernel count it; None where it cannot be read."""

import gc
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

GIB = 2**30


@dataclass(frozen=True)
class Peak:
    """Most device memory since the last reset (GiB): held by tensors, and reserved by the allocator from the driver;
    the latter is None where some of it was kept from another job."""

    allocated_gib: float
    reserved_gib: float | None


def reset_peak(device: torch.device) -> None:
    """Forget the allocator's peaks; the counters live on the host, so nothing waits. No-op on the CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def read_peak(device: torch.device) -> Peak | None:
    """The allocator's peaks since `reset_peak`; None on the CPU, whose allocator does not count."""
    if device.type != "cuda":
        return None
    return Peak(torch.cuda.max_memory_allocated(device) / GIB, torch.cuda.max_memory_reserved(device) / GIB)


def empty_cache(device: torch.device) -> None:
    """Collect garbage, and give what the allocator keeps for later back to the driver."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def allocated_gib(device: torch.device) -> float | None:
    """Device memory held by tensors now."""
    return torch.cuda.memory_allocated(device) / GIB if device.type == "cuda" else None


def pinned_peak_gib(device: torch.device) -> float | None:
    """Most page-locked host memory that PyTorch held at once since the process began; None where it is not counted."""
    if device.type != "cuda" or not hasattr(torch.cuda, "host_memory_stats"):
        return None
    peak = torch.cuda.host_memory_stats().get("allocated_bytes.peak")
    return peak / GIB if peak is not None else None


def cap(device: torch.device, limit_gib: float | None) -> None:
    """Let the allocator take at most `limit_gib` of the device (all of it for None); more ends in an OOM.

    The CUDA context and other libraries' workspaces do not count, as they do not in the allocator's peaks."""
    if device.type != "cuda":
        return
    total = torch.cuda.get_device_properties(device).total_memory
    share = 1.0 if limit_gib is None else min(1.0, limit_gib * GIB / total)
    torch.cuda.set_per_process_memory_fraction(share, device)


def reset_host_peak() -> bool:
    """Have the kernel begin a new peak of this process's memory; False where it cannot: the peak is then that of the
    process's whole life."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def host_peak_gib() -> float | None:
    """Peak resident memory of this process since `reset_host_peak`, plus its living children's; None off Linux."""
    pids = ["self", *(str(child.pid) for child in psutil.Process().children(recursive=True))]
    peaks = [peak for pid in pids if (peak := _high_water_bytes(pid)) is not None]
    return sum(peaks) / GIB if peaks else None


def _high_water_bytes(pid: str) -> int | None:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
