"""Which of cuDNN's kernels computes a convolution: by its rules of thumb, or each shape by the fastest, tried here."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from svdsweep.config import Memory


def benchmark(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Let cuDNN time its kernels at the first call of each shape, in the UNet and in both halves of the VAE."""
    for network in _networks(pipe):
        network.forward = _benchmarking(network.forward)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why cuDNN's rules of thumb choose, else None."""
    if not torch.backends.cudnn.enabled:
        return "cuDNN is switched off"
    plain = [n for n in _networks(pipe) if not getattr(n.forward, "benchmarks", False)]
    return f"{len(plain)} of 3 networks run without" if plain else None


def _networks(pipe: Any) -> tuple[Any, Any, Any]:
    return pipe.unet, pipe.vae.encoder, pipe.vae.decoder


def _benchmarking(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def benchmarking(*args: Any, **kwargs: Any) -> Any:
        cudnn: Any = torch.backends.cudnn
        before = cudnn.benchmark
        cudnn.benchmark = True
        try:
            return forward(*args, **kwargs)
        finally:
            cudnn.benchmark = before

    benchmarking.benchmarks = True  # type: ignore[attr-defined]
    return benchmarking
