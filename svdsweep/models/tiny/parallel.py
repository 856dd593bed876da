"""Training on a few processes of one thread each, whose parameters are averaged every few steps."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

Parameters = list[nn.Parameter]
LOCAL_STEPS = 8
"""After so many steps of their own the members average their parameters."""


@dataclass(frozen=True)
class Member:
    """One of the processes that train together. device: `cpu`, or `cuda` for a single process."""

    rank: int
    world: int
    seed: int
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process prints and saves."""
        return self.rank == 0

    def generator(self, stream: int) -> torch.Generator:
        """Return this member's own source of clips: no two members see the same."""
        return torch.Generator().manual_seed(self.seed * 10_000 + stream * 100 + self.rank)

    @torch.no_grad()
    def average(self, parameters: Parameters) -> None:
        """Replace every parameter by its mean over the members (local steps between: Stich 2019).

        Members that wait for each other at every step spend a third of a busy machine's time waiting.
        """
        if self.world == 1:
            return
        flat = torch.cat([parameter.flatten() for parameter in parameters])
        dist.all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat, [parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    def agree(self, value: float) -> float:
        """Return the leader's value."""
        if self.world == 1:
            return value
        box = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(box, 0)
        return float(box)


def run_together(task: Callable[..., None], processes: int, seed: int, device: str, *args: Any) -> None:
    """Run `task(member, *args)` in so many processes and wait; a fault in one ends all."""
    if processes == 1:
        task(Member(0, 1, seed, device), *args)
        return
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        spawn(  # type: ignore[no-untyped-call]
            _join, (task, processes, seed, device, str(meeting), args), nprocs=processes
        )


def start(task: Callable[..., None], member: Member, *args: Any) -> BaseProcess:
    """Start `task(member, *args)` in a process of its own, beside whatever follows."""
    process = get_context("spawn").Process(target=_alone, args=(task, member, args))
    process.start()
    return process


def _alone(task: Callable[..., None], member: Member, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    task(member, *args)


def _join(
    rank: int,
    task: Callable[..., None],
    world: int,
    seed: int,
    device: str,
    meeting: str,
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    try:
        task(Member(rank, world, seed, device), *args)
    finally:
        dist.destroy_process_group()


class Clock:
    """How far a training is, 0 to 1: by its number of steps where one is given, else by the time it has.

    By steps the same seed gives the same weights; by time a busy machine gives fewer steps.
    """

    def __init__(self, member: Member, minutes: float, steps: int | None) -> None:
        self.member, self.seconds, self.steps = member, minutes * 60, steps
        self.start, self.step, self.progress = time.monotonic(), 0, 0.0

    def tick(self) -> bool:
        """Begin a step; False when the training is over."""
        done = self.step / self.steps if self.steps else (time.monotonic() - self.start) / self.seconds
        if self.step % LOCAL_STEPS == 0:
            self.progress = self.member.agree(done)
        if self.progress >= 1:
            return False
        self.step += 1
        return True

    def learning_rate(self, peak: float, hold: float, warmup: int = 60) -> float:
        """Return the rate now: a short linear rise, constant until `hold`, then half a cosine to zero."""
        fall = max(0.0, (self.progress - hold) / (1 - hold))
        return peak * min(1.0, self.step / warmup) * 0.5 * (1 + math.cos(math.pi * fall))


class Average:
    """The exponential moving average of parameters: what is saved."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay, self.updates = decay, 0
        self.values: list[Tensor] = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.values, list[Tensor](self.parameters), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the parameters and their average."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            kept = parameter.clone()
            parameter.copy_(value)
            value.copy_(kept)


def set_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Set the learning rate of each group: `rate` times the group's own `scale`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
