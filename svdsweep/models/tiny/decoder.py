"""Sets the decoder up as the inverse of the prescribed transform; training adds what the transform lost.

`kept` tells what is set and why. The weights between are fitted to pictures by least squares, level by level.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLTemporalDecoder
from torch import Generator, Tensor

from svdsweep.models.tiny import latents
from svdsweep.models.tiny.fitting import capture, fit_corner, fit_pixels
from svdsweep.models.tiny.kept import (
    COLOURS,
    CONTENT,
    PLACES,
    ROWS,
    SIGNALS,
    TINY,
    UNDO,
    Kept,
    clear,
    kept_rows,
)
from svdsweep.models.tiny.places import (
    OVER,
    count_from_the_edges,
    even_out,
    halve_the_places,
    tell_even_from_odd,
)

CORNERS = ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0))
"""Of a doubled pixel, in the order of pixel_unshuffle: the signs of the places across and down."""
OPEN = 8.0
"""What an open gate adds before the activation, and a closed one takes away."""
SHARE = 0.03
"""Standard deviation of a signal, as a share of what separates gates: they must not be moved by it."""
NOISE = 0.03
"""Standard deviation of what is added to the latents that the weights are fitted to, about what the U-Net errs."""


@torch.no_grad()
def set_decoder(vae: AutoencoderKLTemporalDecoder, images: Tensor, generator: Generator) -> Kept:
    """Set the kept part, fitted to images (N, 3, 64, 64); return what training must leave as it is."""
    decoder: Any = vae.decoder
    clear(vae)
    for row, (channel, sign) in enumerate(ROWS[0]):
        decoder.conv_in.weight[row, channel, 1, 1] = sign * TINY
    count_from_the_edges(decoder)
    for level, block in enumerate(decoder.up_blocks[:3]):
        conv = block.upsamplers[0].conv
        first, second = decoder.up_blocks[level + 1].resnets
        some = images[:: 4**level]  # every level has four times the pixels
        codes = latents.encode(some)
        codes = codes + NOISE * torch.randn(codes.shape, generator=generator)
        if level == 0:
            _pass(conv, 0, 0, CONTENT[0], 1)
            tell_even_from_odd(conv, capture(decoder, block.upsamplers[0], codes[:1])[0])
            even_out(first.spatial_res_block)
        else:
            _pass(conv, CONTENT[level - 1] + PLACES, 0, CONTENT[level], 1)
            _pass(conv, CONTENT[level - 1], CONTENT[level], PLACES, 1 / OVER)
            halve_the_places(first.spatial_res_block, CONTENT[level])
        _draw_corners(decoder, second.spatial_res_block, codes, _signals(some, level), level)
    _show(decoder, CONTENT[2] + PLACES)
    return kept_rows(vae)


def _pass(conv: Any, source: int, target: int, count: int, gain: float) -> None:
    """Let a convolution pass rows on."""
    for row in range(count):
        conv.weight[target + row, source + row, 1, 1] = gain


def _draw_corners(decoder: Any, spatial: Any, codes: Tensor, target: Tensor, level: int) -> None:
    """Fit gates that draw the target (N, J, H, W) from the level's content into the rows after the places."""
    content, rows = CONTENT[level], ROWS[level + 1]
    size = target.std((0, 2, 3), keepdim=True)
    size[:, COLOURS:] = size[:, COLOURS:].amax() if level < 2 else 1
    inputs = capture(decoder, spatial.conv1, codes)[:, :content]
    for corner, signs in enumerate(CORNERS):
        channels = slice(corner * len(rows), (corner + 1) * len(rows))
        for axis, sign in enumerate(signs):
            spatial.conv1.weight[channels, content + 2 * axis, 1, 1] = sign / 2
            spatial.conv1.weight[channels, content + 2 * axis + 1, 1, 1] = -sign / 2
        spatial.norm2.weight[channels] = OPEN * 2**0.5
        spatial.norm2.bias[channels] = -OPEN
        kernel = SHARE * fit_corner(inputs, target / size, corner)
        for channel, (signal, sign) in enumerate(rows, channels.start):
            spatial.conv1.weight[channel, :content] = sign * kernel[signal]
    hidden = capture(decoder, spatial.conv2, codes)[:, : 4 * len(rows)]
    *weights, bias = fit_pixels(hidden, target, TINY)
    for row, (signal, sign) in enumerate(rows, content + PLACES):
        spatial.conv2.weight[row, : 4 * len(rows), 1, 1] = sign * TINY * torch.stack(weights)[:, signal]
        spatial.conv2.bias[row] = sign * TINY * bias[signal]


def _show(decoder: Any, first: int) -> None:
    """Let the last convolutions show red, green and blue; what the rest of the network adds begins small."""
    decoder.conv_norm_out.weight[first : first + 6] = UNDO
    decoder.conv_out.weight.mul_(0.1)
    decoder.conv_out.weight[:, : first + 6] = 0
    decoder.conv_out.bias.zero_()
    decoder.time_conv_out.weight.zero_()
    decoder.time_conv_out.bias.zero_()
    for colour in range(COLOURS):
        decoder.conv_out.weight[colour, first + 2 * colour, 1, 1] = 1
        decoder.conv_out.weight[colour, first + 2 * colour + 1, 1, 1] = -1
        decoder.time_conv_out.weight[colour, colour, 1, 0, 0] = 1


def _signals(images: Tensor, level: int) -> Tensor:
    """Return what the rows after an upsampling should carry, (N, J, H, W)."""
    if level == 2:
        return images
    patch = (4, 2)[level]
    basis, _, _ = latents.cosines(patch, *SIGNALS[level])
    return F.conv2d(images, basis / patch, stride=patch)
