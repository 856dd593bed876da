"""Feed-forward layers a few frames at a time."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import unless_all


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """`forward_chunk_size` frames at once in the UNet's feed-forward layers."""
    pipe.unet.enable_forward_chunking(chunk_size=memory.forward_chunk_size, dim=0)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why feed-forward layers are not chunked, else None."""
    blocks = [m for m in pipe.unet.modules() if hasattr(m, "set_chunk_feed_forward")]
    plain = [m for m in blocks if m._chunk_size != memory.forward_chunk_size]
    return unless_all(blocks, plain, "transformer blocks are not chunked")
