"""The part of the decoder that is set by hand and kept through the training: which rows and channels, and for what.

Two things stand in the way of such a network, and decoders started at random stayed at 21 dB on photographs for
them. Its normalisation over pairs of channels forgets how bright a picture is; and after an upsampling that repeats
every value, a convolution cannot know which corner of a doubled pixel it is to draw. So some rows of the residual
stream, and some hidden channels of its blocks, are set beside those that learn:

* Signals travel at an amplitude (`TINY`) far below the normalisation's epsilon, where normalising is no more than
  taking a mean away and multiplying by a constant. Mean colours meet their negatives, which makes the mean zero.
* Places (`places`) tell even columns and rows from odd ones, by how far the edges are.
* Gates (`decoder`): of four hidden channels for a signal, one for each corner of a doubled pixel, the places leave
  one open and close the others: silu(g + x) - silu(g) is x where g is large, and 0 where it is far below zero.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import nn

from svdsweep.models.tiny import latents

TINY = 2.0**-16
"""Its square is far below the epsilon of the normalisation, 1e-6. What float16 loses of weights of this size is made
up for where they are fitted."""
UNDO = 1e-3 / TINY
"""The weight after normalisation that brings a signal back: sqrt(1e-6) / TINY."""
COLOURS = 3
"""The first signals of each level: mean colours."""
SIGNALS = ((7, 3), (4, 4), (1, 1))
"""After each upsampling: how many frequencies of luma and of each colour difference a pixel stands for."""
COUNTS, PLACES = 10, 4
"""Rows of the counts from the edges (four, and a constant) and of the places (across, down), in pairs."""

Kept = list[tuple[nn.Parameter, int]]
"""Parameters with the number of their first rows that are kept as they are set."""


def rows_of(luma: int, chroma: int) -> list[tuple[int, float]]:
    """Return the signal and the sign of each row that carries them: colours twice, the others once.

    Of two neighbours the normalisation takes their common mean; so each strong signal stands beside a weak one, or
    beside nothing, from which a fit can tell what was taken.
    """
    _, frequencies, colours = latents.cosines(latents.PATCH, luma, chroma)
    strengths = torch.where(colours == 0, 1, 0.3) / (1 + 3 * frequencies)
    singles = sorted(range(COLOURS, luma + 2 * chroma), key=lambda signal: -float(strengths[signal]))
    rows = [(colour, sign) for colour in range(COLOURS) for sign in (1.0, -1.0)]
    alone = [(signal, 1.0) for signal in singles] + [(0, 0.0)] * (len(singles) % 2)
    half = len(alone) // 2
    for strong, weak in zip(alone[:half], alone[: half - 1 : -1], strict=True):
        rows += [strong, weak]
    return rows


ROWS = [rows_of(*bands) for bands in ((latents.LUMA, latents.CHROMA), *SIGNALS)]
"""Signal and sign of the rows that carry signals, before the first upsampling and after each."""
CONTENT = [len(rows) for rows in ROWS]
"""How many they are."""


def kept_rows(vae: AutoencoderKLTemporalDecoder) -> Kept:
    """Return what training must leave: of the residual stream's rows, and of the hidden channels, the first."""
    decoder: Any = vae.decoder
    stream = [CONTENT[0] + COUNTS, *(before + PLACES + after for before, after in pairwise(CONTENT))]
    hidden = [8, 8, 8, 4, 4 * CONTENT[1], 16, 4 * CONTENT[2], 16, 4 * CONTENT[3]]
    kept: Kept = []

    def keep(count: int, *modules: Any) -> None:
        kept.extend((p, count) for module in modules for p in (module.weight, module.bias))

    keep(stream[0], decoder.conv_in)
    for resnet, level, count in zip(resnets_of(decoder), (0, 0, 0, 1, 1, 2, 2, 3, 3), hidden, strict=True):
        spatial, temporal = resnet.spatial_res_block, resnet.temporal_res_block
        keep(stream[level], spatial.norm1, spatial.conv2, temporal.conv2)
        keep(count, spatial.conv1, spatial.norm2)
    for level, block in enumerate(decoder.up_blocks[:3]):
        keep(stream[level + 1], block.upsamplers[0].conv)
    keep(stream[3], decoder.conv_norm_out)
    return kept


@torch.no_grad()
def clear(vae: AutoencoderKLTemporalDecoder) -> None:
    """Set what is kept to zero, but for the factors of the normalisations; what learns begins small."""
    for resnet in resnets_of(vae.decoder):
        for branch in (resnet.spatial_res_block.conv2, resnet.temporal_res_block.conv2):
            branch.weight.mul_(0.2)
            branch.bias.zero_()
    factors = [m.weight for m in vae.decoder.modules() if isinstance(m, nn.GroupNorm)]
    for parameter, rows in kept_rows(vae):
        if not any(parameter is factor for factor in factors):
            parameter[:rows] = 0


def resnets_of(decoder: Any) -> list[Any]:
    """The decoder's blocks in their order: one in the middle, two a level."""
    return [*decoder.mid_block.resnets, *(r for block in decoder.up_blocks for r in block.resnets)]
