"""Feed-forward layers and the decoder, a few frames at a time."""

import math
from typing import Any

import torch

from svdsweep.config import Memory

DECODE_FIXED_GIB = 0.27
"""Weights and buffers of a decode whatever the chunk."""
DECODE_FEATURES = 8
"""Feature maps of the decoder's first width at full resolution alive at the peak, for each frame of a chunk."""
MARGIN = 0.10
"""Share of the free memory that is left for convolution workspaces and fragmentation."""


def chunk_feed_forward(pipe: Any, memory: Memory, device: torch.device) -> None:
    """`forward_chunk_size` frames at once in the UNet's feed-forward layers."""
    pipe.unet.enable_forward_chunking(chunk_size=memory.forward_chunk_size, dim=0)


def check_feed_forward(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why no feed-forward layer is chunked, else None."""
    blocks = [m for m in pipe.unet.modules() if hasattr(m, "set_chunk_feed_forward")]
    chunked = [m for m in blocks if m._chunk_size == memory.forward_chunk_size]
    if blocks and len(chunked) == len(blocks):
        return None
    return f"{len(blocks) - len(chunked)} of {len(blocks)} transformer blocks are not chunked"


def frames_that_fit(pipe: Any, num_frames: int, height: int, width: int, free_gib: float) -> int:
    """Largest decode chunk (frames, at least 1) for `free_gib` of device memory: at the decoder's peak a frame holds 8
    feature maps of its first width at full resolution (1.125 GiB at 576×1024 in float16)."""
    width_features = pipe.vae.config.block_out_channels[0]
    size = torch.finfo(pipe.vae.dtype).bits // 8
    frame_gib: float = DECODE_FEATURES * width_features * height * width * size / 2**30
    fitting = math.floor((free_gib * (1 - MARGIN) - DECODE_FIXED_GIB) / frame_gib)
    return max(1, min(num_frames, fitting))
