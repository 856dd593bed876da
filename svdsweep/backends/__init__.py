"""What a device is asked while it computes: memory, its own clock, streams, facts. One file for each way of asking."""

from collections.abc import Mapping

import torch

from svdsweep.backends.contract import Backend
from svdsweep.backends.cpu import Cpu
from svdsweep.backends.like_cuda import LikeCuda
from svdsweep.backends.mps import Mps

HOST = Cpu()
BACKENDS: Mapping[str, Backend] = {
    "cuda": LikeCuda("cuda"),  # NVIDIA's GPUs, and AMD's, which PyTorch for ROCm calls so too
    "xpu": LikeCuda("xpu"),
    "mps": Mps(),
}


def backend_of(device: torch.device) -> Backend:
    """Who answers for a device; for one that is no accelerator, the host."""
    return BACKENDS.get(device.type, HOST)
