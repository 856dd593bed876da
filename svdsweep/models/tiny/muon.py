"""Muon: momentum whose every matrix is replaced by the nearest orthogonal one (Jordan et al. 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Return about U V' of the singular value decomposition of each matrix in (N, rows, columns).

    Newton and Schulz's iteration with the quintic of https://kellerjordan.github.io/posts/muon/, in bfloat16.
    """
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    result: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return result


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; a convolution's kernel counts as a matrix of its output channels."""

    def __init__(self, parameters: Iterable[nn.Parameter], scale: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": 0.0, "scale": scale, "momentum": momentum, "weight_decay": 0.01})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter; matrices of one shape are orthogonalised in one batch."""
        for group in self.param_groups:
            shelves: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                velocity = self.state[parameter].setdefault("velocity", torch.zeros_like(parameter))
                velocity.lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(velocity, group["momentum"]).flatten(1)
                shelves[tuple(ahead.shape)].append((parameter, ahead))
            for (rows, columns), shelf in shelves.items():
                updates = orthogonalize(torch.stack([ahead for _, ahead in shelf]))
                size = max(1.0, rows / columns) ** 0.5
                for (parameter, _), update in zip(shelf, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.view_as(parameter), alpha=-group["lr"] * size)
