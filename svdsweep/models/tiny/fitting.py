"""Fits weights of the decoder by least squares, to what its modules are given."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def capture(decoder: Any, module: nn.Module, codes: Tensor) -> Tensor:
    """Return what a module of the decoder is given for latents, each a clip of one frame."""
    seen: list[Tensor] = []

    def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])
        raise _Seen

    handle = module.register_forward_pre_hook(see)
    for part in torch.split(codes, 32):
        with suppress(_Seen):
            decoder(part, image_only_indicator=torch.zeros(len(part), 1), num_frames=1)
    handle.remove()
    return torch.cat(seen)


class _Seen(Exception):
    """What was looked for is there: the rest of the decoder need not run."""


def fit_corner(inputs: Tensor, target: Tensor, corner: int) -> Tensor:
    """Return the 3 x 3 kernel (J, C, 3, 3) that brings doubled inputs nearest to the target in one corner."""
    y, x = corner // 2, corner % 2
    channels = inputs.shape[1]
    gram, cross = torch.zeros(9 * channels, 9 * channels), torch.zeros(9 * channels, target.shape[1])
    for some, wanted in zip(torch.split(inputs, 16), torch.split(target, 16), strict=True):
        windows = torch.unflatten(F.unfold(some, 3, padding=1), 2, some.shape[2:])[:, :, y::2, x::2]
        columns = windows.transpose(0, 1).flatten(1)
        gram += columns @ columns.T
        cross += columns @ wanted[:, :, y::2, x::2].transpose(0, 1).flatten(1).T
    return solve(gram, cross, 1e-5).T.reshape(-1, channels, 3, 3)


def fit_pixels(inputs: Tensor, target: Tensor, scale: float) -> Tensor:
    """Return weights (C + 1, J) that bring inputs, and a one, nearest to the target, pixel by pixel.

    Times the scale they are float16 numbers: every row makes up for what rounding those before it did (the
    rounding of Frantar et al. 2023, GPTQ).
    """
    columns = F.pad(inputs.transpose(0, 1).flatten(1), (0, 0, 0, 1), value=1.0).double()
    wanted = target.transpose(0, 1).flatten(1).double()
    gram = columns @ columns.T
    weights = solve(gram, columns @ wanted.T, 1e-9)
    for row in range(len(weights)):
        exact = weights[row].clone()
        weights[row] = (scale * exact).half().double() / scale
        if row + 1 < len(weights):
            missing = gram[row + 1 :, row, None] * (exact - weights[row])
            weights[row + 1 :] += solve(gram[row + 1 :, row + 1 :], missing, 1e-9)
    return weights.float()


def solve(gram: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """Solve normal equations with a ridge, a share of the diagonal's mean."""
    eye = torch.eye(len(gram), dtype=gram.dtype)
    solution: Tensor = torch.linalg.solve(gram + ridge * gram.diagonal().mean() * eye, cross)
    return solution
