"""Sets the U-Net up: it starts as the copy of the conditioning image into every frame, and learns what moves.

Its normalisation over a few channels forgets how bright a picture is, so it would learn to copy slowly and
not well. As in `kept`, the copy goes a linear path of its own: rows of the first convolution carry the
conditioning latents at an amplitude far below the normalisation's epsilon, the skip connection brings them to
the last block, whose branches do not write into them, and the last convolution subtracts them: at high noise
the output F of the U-Net means x0 = -F.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNetSpatioTemporalConditionModel
from torch import nn

from svdsweep.models.tiny import latents

SMALL = 2.0**-13
"""The path's amplitude: its square is far below the normalisation's epsilon, 1e-5."""

GROUP = 4
"""Channels that the last normalisation takes together: it takes away the mean of four rows over the picture."""
PAIRED = 4
"""The latent channels whose mean is large: each meets its negative. Of the others, three go beside a row of
nothing, which shows what was taken away."""
ROWS = 2 * PAIRED + -(-(latents.CHANNELS - PAIRED) // (GROUP - 1)) * GROUP
"""Of the 128 channels, how many are the path."""
LIFT = 8.0
"""Brings the unpaired to where silu is the identity."""

Frozen = list[tuple[nn.Parameter, tuple[slice, ...]]]
"""Parameters with the part of them that belongs to the path."""


def frozen_parts(unet: UNetSpatioTemporalConditionModel) -> Frozen:
    """Return what training must leave as it is."""
    net: Any = unet
    last = net.up_blocks[-1].resnets[-1]
    spatial, temporal = last.spatial_res_block, last.temporal_res_block
    modules = (net.conv_in, spatial.conv2, temporal.conv2, spatial.conv_shortcut, net.conv_norm_out)
    parts: Frozen = [(p, (slice(ROWS),)) for module in modules for p in (module.weight, module.bias)]
    return [*parts, (net.conv_out.weight, (slice(None), slice(ROWS)))]


def hold(frozen: Frozen) -> None:
    """Take the frozen parts out of the gradients."""
    for parameter, part in frozen:
        if parameter.grad is not None:
            parameter.grad[part] = 0


@torch.no_grad()
def set_copy(unet: UNetSpatioTemporalConditionModel) -> None:
    """Set the path; everything else of the output starts at zero."""
    for parameter, part in frozen_parts(unet):
        parameter[part] = 0
    net: Any = unet
    shortcut = net.up_blocks[-1].resnets[-1].spatial_res_block.conv_shortcut.weight
    skip = shortcut.shape[1] - net.conv_in.out_channels
    net.conv_norm_out.weight[:ROWS] = float(net.conv_norm_out.eps) ** 0.5 / SMALL
    net.conv_norm_out.bias[2 * PAIRED : ROWS] = LIFT
    for row, channel, sign in _signals():
        net.conv_in.weight[row, latents.CHANNELS + channel, 1, 1] = sign * SMALL * latents.SCALING_FACTOR
        shortcut[row, skip + row] = 1
        net.conv_out.weight[channel, row, 1, 1] = -sign
        if row >= 2 * PAIRED:
            net.conv_out.weight[channel, row - row % GROUP, 1, 1] = 1


def _signals() -> list[tuple[int, int, int]]:
    """Return the row, the latent channel and the sign of each signal; the first row of an unpaired group is nothing."""
    pairs = [(2 * c + minus, c, 1 - 2 * minus) for c in range(PAIRED) for minus in (0, 1)]
    rows = [row for row in range(2 * PAIRED, ROWS) if row % GROUP]
    return pairs + [(row, c, 1) for row, c in zip(rows, range(PAIRED, latents.CHANNELS), strict=False)]
