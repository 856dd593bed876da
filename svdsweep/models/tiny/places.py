"""Lets the decoder know where it is: which columns and rows are even, after each upsampling.

Convolutions with zeros beyond the edge can count how far it is (Islam et al. 2020, How Much Position Information Do
CNNs Encode). Even and odd follow from the counts after the first upsampling, and from one another after the next.
Beyond 13 pixels of the latents the counts do not reach the middle, where pictures stay grey and coarse.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from svdsweep.models.tiny.fitting import solve
from svdsweep.models.tiny.kept import CONTENT, COUNTS, resnets_of

SIDES = ((1, 0), (1, 2), (0, 1), (2, 1))
"""Where a kernel looks towards the left, right, upper and lower edge."""
SHARP = 30.0
"""How steeply a step rises, before the activation."""
OVER = 10.0
"""How much new places outweigh the old ones, in whose rows they are written."""


def couple(conv: Any, target: int, source: int, at: tuple[int, int], weight: float) -> None:
    """Let a pair of rows (x, -x) read a pair: silu(x) - silu(-x) = x, so an activation between leaves it as it is."""
    for one in range(2):
        for other in range(2):
            conv.weight[target + one, source + other, at[0], at[1]] += weight * (1 if one == other else -1)


def count_from_the_edges(decoder: Any) -> None:
    """Five pairs of rows: how far each edge is, up to six pixels of 8 x 8, and a constant."""
    first, count = CONTENT[0], torch.ones(8)
    decoder.conv_in.bias[first : first + COUNTS] = Tensor([1, -1] * 5)
    for resnet, (stay, shift) in zip(
        resnets_of(decoder)[:3], ((1.0, 1.0), (0.0, 1.0), (0.5, 0.5)), strict=True
    ):
        spatial = resnet.spatial_res_block
        shifted = F.pad(count[:-1], (1, 0))
        size = float(shifted.square().mean().sqrt())
        for side, at in enumerate(SIDES):
            couple(spatial.conv1, 2 * side, first + 2 * side, at, 1)
            couple(spatial.conv2, first + 2 * side, 2 * side, (1, 1), stay * size)
            couple(spatial.conv2, first + 2 * side, 2 * side, at, shift * size)
        count = count + stay * shifted + shift * F.pad(shifted[:-1], (1, 0))


def tell_even_from_odd(conv: Any, stream: Tensor) -> None:
    """Fit the places after the first upsampling to the counts in a stream (C, 8, 8): -1 if even, 1 if odd."""
    first = CONTENT[0]
    parity = Tensor([-1, 1]).repeat(8)
    for axis in range(2):
        names = [first + 4 * axis, first + 4 * axis + 2, first + 8]
        lines = torch.stack([stream[name, 4] if axis == 0 else stream[name, :, 4] for name in names])
        lines = F.pad(lines.repeat_interleave(2, 1), (1, 1))
        features = torch.cat([lines.unfold(1, 3, 1).permute(1, 0, 2).flatten(1), torch.ones(16, 1)], 1)
        *taps, bias = solve(features.T @ features, features.T @ parity[:, None], 1e-7)[:, 0]
        for one, sign in ((0, 1), (1, -1)):
            row = conv.weight[first + 2 * axis + one]
            conv.bias[first + 2 * axis + one] = sign * bias
            for name, three in zip(names, torch.stack(taps).view(3, 3), strict=True):
                (row[name, 1] if axis == 0 else row[name, :, 1]).copy_(sign * three)


def even_out(spatial: Any) -> None:
    """Let all places weigh the same: a step at zero, added to their rows."""
    first = CONTENT[0]
    for axis in range(2):
        for number, bias in enumerate((0.2, -0.2)):
            hidden, source = 2 * axis + number, first + 2 * axis
            spatial.conv1.weight[hidden, source, 1, 1], spatial.conv1.weight[hidden, source + 1, 1, 1] = 1, -1
            spatial.norm2.weight[hidden], spatial.norm2.bias[hidden] = SHARP, SHARP * bias
            for one, sign in ((0, 1), (1, -1)):
                spatial.conv2.weight[source + one, hidden, 1, 1] = sign * OVER / (SHARP * bias)
                spatial.conv2.bias[source + one] = -sign * OVER


def halve_the_places(spatial: Any, first: int) -> None:
    """From places that were doubled, ++--, those of single pixels: even is whose neighbour behind is another."""
    for axis in range(2):
        for number, side in enumerate(SIDES[2 * axis : 2 * axis + 2]):
            for step, bias in enumerate((-0.2, -0.5)):
                hidden = 8 * axis + 4 * number + 2 * step
                couple(spatial.conv1, hidden, first + 2 * axis, (1, 1), 0.5)
                couple(spatial.conv1, hidden, first + 2 * axis, side, -0.5)
                spatial.norm2.weight[hidden : hidden + 2] = SHARP
                spatial.norm2.bias[hidden : hidden + 2] = SHARP * bias
                weight = OVER / (0.3 * SHARP) * (1, -1)[step] * (-1, 1)[number]
                for one, sign in ((0, 1), (1, -1)):
                    row = first + 2 * axis + one
                    spatial.conv2.weight[row, hidden : hidden + 2, 1, 1] = sign * weight
