"""Sets the autoencoder up: the encoder to the prescribed transform, the decoder to its best linear inverse.

A residual network with group normalisation over pairs of channels forgets how bright a picture is: a decoder
started at random stood at 21 dB for hundreds of steps. Hence a linear path: some channels of the residual
stream carry the signal at an amplitude (`TINY`) far below the normalisation's epsilon, where normalising is
no more than multiplying by a constant, and no residual branch writes into them. At the end every signal s
meets its negative in its own group, and silu(s) - silu(-s) = s makes the activation linear too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor, nn

from svdsweep.models.tiny import latents

TINY = 2.0**-18
"""Exact in float16; its square is far below the epsilon of the normalisation, 1e-6."""
UNDO = 1e-3 / TINY
"""The weight after normalisation that brings the signal back: sqrt(1e-6) / TINY."""

Frozen = list[tuple[nn.Parameter, int]]
"""Parameters with the number of their first rows that belong to the linear path."""


@torch.no_grad()
def set_encoder(vae: AutoencoderKLTemporalDecoder) -> None:
    """Make the encoder compute `latents.encode`, for images of any size."""
    encoder: Any = vae.encoder
    for name, parameter in encoder.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, 1, 1] = TINY
    for level, signals in enumerate((3, 3)):
        weight = encoder.down_blocks[level].downsamplers[0].conv.weight
        for signal in range(signals):
            for corner in range(4):
                weight[signal, signal, corner // 2, corner % 2] = 0.25
    weight = encoder.down_blocks[2].downsamplers[0].conv.weight
    for channel in range(latents.CHANNELS):
        colour, corner = channel // 4, channel % 4
        weight[2 * channel, colour, corner // 2, corner % 2] = latents.GAIN
        weight[2 * channel + 1, colour, corner // 2, corner % 2] = -latents.GAIN
    encoder.conv_norm_out.weight.fill_(UNDO)
    encoder.conv_norm_out.bias.zero_()
    for channel in range(latents.CHANNELS):
        encoder.conv_out.weight[channel, 2 * channel, 1, 1] = 1
        encoder.conv_out.weight[channel, 2 * channel + 1, 1, 1] = -1
    encoder.conv_out.bias[latents.CHANNELS :] = -10
    nn.init.dirac_(vae.quant_conv.weight)
    nn.init.zeros_(vae.quant_conv.bias)


@torch.no_grad()
def set_decoder(vae: AutoencoderKLTemporalDecoder, images: Tensor) -> Frozen:
    """Fit the linear path to images (N, 3, 64, 64) by least squares, level by level; return what to freeze."""
    decoder: Any = vae.decoder
    frozen: Frozen = []

    def keep(module: Any, rows: int) -> None:
        for parameter in (module.weight, module.bias):
            parameter[:rows] = 0
            frozen.append((parameter, rows))

    def keep_out(block: Any, rows: int) -> None:
        for branch in (block.spatial_res_block.conv2, block.temporal_res_block.conv2):
            branch.weight.mul_(0.2)
            branch.bias.zero_()
            keep(branch, rows)

    keep(decoder.conv_in, latents.CHANNELS)
    for channel in range(latents.CHANNELS):
        decoder.conv_in.weight[channel, channel, 1, 1] = TINY
    for block in decoder.mid_block.resnets:
        keep_out(block, latents.CHANNELS)
    for attention in decoder.mid_block.attentions:
        attention.to_out[0].weight.mul_(0.2)
        keep(attention.to_out[0], latents.CHANNELS)

    signal, rows = latents.encode(images), latents.CHANNELS
    for level, block in enumerate(decoder.up_blocks):
        for resnet in block.resnets:
            keep_out(resnet, rows)
        if not block.upsamplers:
            continue
        target = _target(images, level)
        wide = F.interpolate(signal, scale_factor=2, mode="nearest")
        kernel = _fit(wide, target)
        signal = F.conv2d(wide, kernel, padding=1)
        if level == 2:
            kernel = torch.stack([kernel, -kernel], 1).flatten(0, 1)
        conv = block.upsamplers[0].conv
        keep(conv, len(kernel))
        conv.weight[: len(kernel), : kernel.shape[1]] = kernel
        rows = len(kernel)
    keep(decoder.conv_norm_out, rows)
    decoder.conv_norm_out.weight[:rows] = UNDO
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.weight[:, :rows] = 0
    decoder.conv_out.bias.zero_()
    for colour in range(3):
        decoder.conv_out.weight[colour, 2 * colour, 1, 1] = 1
        decoder.conv_out.weight[colour, 2 * colour + 1, 1, 1] = -1
    decoder.time_conv_out.weight.zero_()
    decoder.time_conv_out.bias.zero_()
    for colour in range(3):
        decoder.time_conv_out.weight[colour, colour, 1, 0, 0] = 1
    return frozen


def _target(images: Tensor, level: int) -> Tensor:
    """Return what the linear path should hold after the upsampling of a level: 12 signals, 12, then RGB."""
    if level == 2:
        return images
    if level == 1:
        return F.pixel_unshuffle(images, 2)
    return F.pixel_unshuffle(F.avg_pool2d(images, 2), 2)


def _fit(inputs: Tensor, target: Tensor, ridge: float = 1e-4) -> Tensor:
    """Return the 3 x 3 kernel that brings inputs nearest to the target (least squares with a small ridge)."""
    channels = inputs.shape[1]
    gram = torch.zeros(9 * channels, 9 * channels)
    cross = torch.zeros(9 * channels, target.shape[1])
    for x, y in zip(torch.split(inputs, 16), torch.split(target, 16), strict=True):
        columns = F.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)
        gram += columns.T @ columns
        cross += columns.T @ y.flatten(2).transpose(1, 2).flatten(0, 1)
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram))
    solution = torch.linalg.solve(gram, cross)
    kernel: Tensor = solution.T.reshape(target.shape[1], channels, 3, 3)
    return kernel


def frozen_rows(vae: AutoencoderKLTemporalDecoder) -> Frozen:
    """Return what to freeze in a decoder whose linear path has 12 rows at 8 x 8 and 6 above."""
    decoder: Any = vae.decoder
    low: list[Any] = [decoder.conv_in, *(a.to_out[0] for a in decoder.mid_block.attentions)]
    high: list[Any] = [decoder.conv_norm_out]
    for level, block in enumerate([decoder.mid_block, *decoder.up_blocks]):
        for resnet in block.resnets:
            branches = (resnet.spatial_res_block.conv2, resnet.temporal_res_block.conv2)
            (low if level < 2 else high).extend(branches)
        if level and block.upsamplers:
            high.append(block.upsamplers[0].conv)
    return [(p, 12 if m in low else 6) for m in low + high for p in (m.weight, m.bias)]
