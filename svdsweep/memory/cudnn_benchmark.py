"""cuDNN's kernels for convolutions: each shape by the fastest, tried on this machine, not by a rule of thumb."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import inside, unless_all


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Let cuDNN time its kernels at the first call of each shape, in the UNet and in both halves of the VAE."""
    for network in _networks(pipe):
        network.forward = inside(by_trial, network.forward, benchmarks=True)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why cuDNN's rules of thumb choose, else None."""
    if not torch.backends.cudnn.enabled:
        return "cuDNN is switched off"
    plain = [n for n in _networks(pipe) if not getattr(n.forward, "benchmarks", False)]
    return unless_all(_networks(pipe), plain, "networks run without")


@contextmanager
def by_trial(tried: bool = True) -> Iterator[None]:
    """Have cuDNN time its kernels in a `with` block, or not; PyTorch's own `cudnn.flags` would set all else too."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = tried
    try:
        yield
    finally:
        cudnn.benchmark = before


def _networks(pipe: Any) -> tuple[Any, Any, Any]:
    return pipe.unet, pipe.vae.encoder, pipe.vae.decoder
