"""2-D convolutions with the channels last in memory."""

from typing import Any

import torch

from svdsweep.config import Memory


def channels_last(pipe: Any, memory: Memory, device: torch.device) -> None:
    """2-D convolutions of UNet and VAE; a whole network cannot, for its 3-D ones refuse the format."""
    for layer in convolutions(pipe):
        layer.to(memory_format=torch.channels_last)


def check_channels_last(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why convolutions keep the other format, else None; of 1×1 ones both formats are the same."""
    wide = [m.weight for m in convolutions(pipe) if m.weight.shape[-1] > 1]
    plain = [w for w in wide if not w.is_contiguous(memory_format=torch.channels_last)]
    return f"{len(plain)} of {len(wide)} convolutions are not channels-last" if plain or not wide else None


def convolutions(pipe: Any) -> list[torch.nn.Conv2d]:
    """The 2-D convolutions of UNet and VAE."""
    networks = (pipe.unet, pipe.vae)
    return [m for network in networks for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
