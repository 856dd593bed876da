"""Sets the encoder to the prescribed transform: nothing of it is learned."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLTemporalDecoder
from torch import nn

from svdsweep.models.tiny import latents
from svdsweep.models.tiny.kept import TINY, UNDO


@torch.no_grad()
def set_encoder(vae: AutoencoderKLTemporalDecoder) -> None:
    """Make the encoder compute `latents.encode`, for images of any size."""
    encoder: Any = vae.encoder
    for name, parameter in encoder.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, 1, 1] = TINY
    for level, signals in enumerate((3, 12)):
        weight = encoder.down_blocks[level].downsamplers[0].conv.weight
        for signal in range(signals):
            for corner in range(4):
                weight[4 * signal + corner, signal, corner // 2, corner % 2] = 1
    weight = encoder.down_blocks[2].downsamplers[0].conv.weight
    pixels = F.pixel_unshuffle(F.pixel_unshuffle(latents.BASIS, 2), 2)
    for channel in range(latents.CHANNELS):
        weight[2 * channel, :48, :2, :2] = pixels[channel]
        weight[2 * channel + 1, :48, :2, :2] = -pixels[channel]
    encoder.conv_norm_out.weight.fill_(UNDO)
    encoder.conv_norm_out.bias.zero_()
    for channel in range(latents.CHANNELS):
        encoder.conv_out.weight[channel, 2 * channel, 1, 1] = 1
        encoder.conv_out.weight[channel, 2 * channel + 1, 1, 1] = -1
    encoder.conv_out.bias[latents.CHANNELS :] = -10
    nn.init.dirac_(vae.quant_conv.weight)
    nn.init.zeros_(vae.quant_conv.bias)
