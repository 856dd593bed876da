"""Convolutions over time as 2-D ones: a (3, 1, 1) kernel over (B, C, F, h, w) is a (3, 1) kernel over (B, C, F, h · w).

The result is the same. But inductor chooses a layout for 2-D convolutions only (`layout_opt` in
torch/_inductor/kernel/conv.py): a 3-D one is fed channels first, and cuDNN transposes the frames before and after its
kernel. And PyTorch from 2.9 on computes 3-D convolutions in half precision without cuDNN where that is 9.8 to 9.14,
by a copy of the input for each tap (github.com/pytorch/pytorch/issues/166643)."""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import TemporalResnetBlock
from torch import Tensor

from svdsweep.config import Memory
from svdsweep.memory.contract import unless_all

KERNEL = (3, 1, 1)


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Replace the forward of each temporal residual block and of its convolutions: hooks of offloads, which are applied
    later, see each layer called. With `channels_last` their weights lie so too.

    Raises ValueError where such a block is not SVD's."""
    for block in _blocks(pipe, memory):
        if block.use_in_shortcut or {block.conv1.kernel_size, block.conv2.kernel_size} != {KERNEL}:
            raise ValueError("temporal_conv2d: this model's temporal blocks are not Stable Video Diffusion's")
        for conv in (block.conv1, block.conv2):
            if memory.channels_last:
                conv.to(memory_format=torch.channels_last_3d)
            conv.forward = functools.partial(over_frames, conv)
        block.forward = functools.partial(residual, block)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why temporal blocks still convolve in three dimensions, else None."""
    blocks = _blocks(pipe, memory)
    plain = [b for b in blocks if getattr(b.forward, "func", None) is not residual]
    return unless_all(blocks, plain, "temporal blocks kept their forward")


def temporal_blocks(network: torch.nn.Module) -> list[Any]:
    """The temporal residual blocks of a network."""
    return [m for m in network.modules() if isinstance(m, TemporalResnetBlock)]


def over_frames(conv: Any, x: Tensor) -> Tensor:
    """A (3, 1, 1) convolution's forward on (B, C, F, h · w)."""
    return F.conv2d(x, conv.weight[..., 0], conv.bias, padding=conv.padding[:2])


def residual(block: Any, input_tensor: Tensor, temb: Tensor | None) -> Tensor:
    """A temporal residual block's forward on (B, C, F, h, w) and the time's embedding (B, F, c), if it takes one."""
    x = input_tensor.flatten(3)
    y = block.conv1(block.nonlinearity(block.norm1(x)))
    if block.time_emb_proj is not None:
        y = y + block.time_emb_proj(block.nonlinearity(temb)).transpose(1, 2)[..., None]
    y = block.conv2(block.nonlinearity(block.norm2(y)))
    out: Tensor = (x + y).unflatten(3, input_tensor.shape[3:])
    return out


def _blocks(pipe: Any, memory: Memory) -> list[Any]:
    """The blocks of the UNet and of the VAE's decoder, unless that is streamed, which has no 3-D convolutions."""
    streamed = memory.decode == "streamed"
    return temporal_blocks(pipe.unet) + ([] if streamed else temporal_blocks(pipe.vae.decoder))
