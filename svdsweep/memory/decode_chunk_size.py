"""How many frames `decode_chunk_size=auto` decodes at once."""

import math
from typing import Any

import torch

DECODE_FIXED_GIB = 0.27
"""Weights and buffers of a decode whatever the chunk."""
DECODE_FEATURES = 8
"""Feature maps of the decoder's first width at full resolution alive at the peak, for each frame of a chunk."""
MARGIN = 0.10
"""Share of the free memory that is left for convolution workspaces and fragmentation."""


def frames_that_fit(pipe: Any, num_frames: int, height: int, width: int, free_gib: float) -> int:
    """Largest decode chunk (frames, at least 1) for `free_gib` of device memory: at the decoder's peak a frame holds 8
    feature maps of its first width at full resolution (1.125 GiB at 576×1024 in float16)."""
    width_features = pipe.vae.config.block_out_channels[0]
    size = torch.finfo(pipe.vae.dtype).bits // 8
    frame_gib: float = DECODE_FEATURES * width_features * height * width * size / 2**30
    fitting = math.floor((free_gib * (1 - MARGIN) - DECODE_FIXED_GIB) / frame_gib)
    return max(1, min(num_frames, fitting))
