"""Group norms from the moments of each channel, for compiled networks whose frames lie channels last.

A group is 4 to 80 neighbouring channels of every pixel. PyTorch's compiler reduces one group in one place: of a row of
128 channels it reads 8 bytes at a time, for which a GPU fetches 32. Sums of each channel are taken over whole rows, in
many places at once, and groups are put together from these (Chan, Golub and LeVeque, 1983)."""

import functools
from typing import Any

import torch
from torch import Tensor

from svdsweep.config import Memory
from svdsweep.memory.contract import unless_all


def by_channel(norm: torch.nn.GroupNorm, x: Tensor) -> Tensor:
    """A group norm's forward on (n, C, …). Mean and variance of each channel come in float32 from sums of x and x², and
    those of the groups from the channels'. As exact as PyTorch's while a channel's mean is below some thousand of its
    standard deviations."""
    places = tuple(range(2, x.dim()))
    count, groups = x[0, 0].numel(), (len(x), norm.num_groups, -1)
    full = x.float()
    mean = (full.sum(places) / count).view(groups)
    square = (full.square().sum(places) / count).view(groups)
    variance = (square - mean.square()).clamp_min(0)
    of_group = mean.mean(2, keepdim=True)
    spread = variance.mean(2, keepdim=True) + (mean - of_group).square().mean(2, keepdim=True)
    scale = (spread + norm.eps).rsqrt().expand_as(mean).flatten(1) * norm.weight
    shift = norm.bias - of_group.expand_as(mean).flatten(1) * scale
    behind = (..., *[None] * len(places))
    out: Tensor = (full * scale[behind] + shift[behind]).to(x.dtype)
    return out


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Replace the forward of every group norm of the networks that are compiled as a whole."""
    for norm in _norms(pipe, memory):
        norm.forward = functools.partial(by_channel, norm)  # type: ignore[method-assign]


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why group norms are still those of PyTorch, else None."""
    norms = _norms(pipe, memory)
    plain = [n for n in norms if getattr(n.forward, "func", None) is not by_channel]
    return unless_all(norms, plain, "group norms kept their forward")


def _norms(pipe: Any, memory: Memory) -> list[torch.nn.GroupNorm]:
    networks = [pipe.unet] if memory.compile == "whole" else []
    networks += [pipe.vae.decoder] if memory.compile_vae else []
    return [m for network in networks for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]
