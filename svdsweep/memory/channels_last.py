"""2-D convolutions with the channels last in memory."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import unless_all


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Give 2-D convolutions of UNet and VAE the format; a whole network cannot take it, for its 3-D ones refuse."""
    for layer in convolutions(pipe):
        layer.to(memory_format=torch.channels_last)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why convolutions keep the other format, else None. The two formats of 1×1 convolutions are the same."""
    wide = [m.weight for m in convolutions(pipe) if m.weight.shape[-1] > 1]
    plain = [w for w in wide if not w.is_contiguous(memory_format=torch.channels_last)]
    return unless_all(wide, plain, "convolutions are not channels-last")


def convolutions(pipe: Any) -> list[torch.nn.Conv2d]:
    """The 2-D convolutions of UNet and VAE."""
    networks = (pipe.unet, pipe.vae)
    return [m for network in networks for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
