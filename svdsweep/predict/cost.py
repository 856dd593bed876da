"""The work that operations on a GPU are: products, bytes read and written, bytes moved to the device and back."""

import functools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

DEVICE = "cuda"
NOTHING_DONE = ("empty", "empty_like", "empty_strided", "new_empty")

Effect = tuple[tuple[str, int, int] | None, int, int]
"""Of one operation: its kernel as `Work` has it, if it is one; bytes to the device and back."""


@dataclass
class Work:
    """What was done: kernels as (kind, flop, bytes read and written) → count; bytes to the device and back."""

    kernels: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    h2d_bytes: int = 0
    d2h_bytes: int = 0

    def add(self, effect: Effect | None) -> None:
        """Count an operation, if it is any work."""
        if effect is None:
            return
        kernel, h2d_bytes, d2h_bytes = effect
        if kernel:
            self.kernels[kernel] += 1
        self.h2d_bytes += h2d_bytes
        self.d2h_bytes += d2h_bytes

    def repeat(self, other: "Work") -> None:
        """Count all of another."""
        self.kernels.update(other.kernels)
        self.h2d_bytes += other.h2d_bytes
        self.d2h_bytes += other.d2h_bytes

    def copy(self) -> "Work":
        """As it is now."""
        return Work(self.kernels.copy(), self.h2d_bytes, self.d2h_bytes)

    def without(self, earlier: "Work") -> "Work":
        """What was done since."""
        return Work(
            self.kernels - earlier.kernels,
            self.h2d_bytes - earlier.h2d_bytes,
            self.d2h_bytes - earlier.d2h_bytes,
        )


def effect_of(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    out: Any,
    outputs: list[torch.Tensor],
    made: bool,
) -> Effect | None:
    """The work of an operation that gave `out`, the tensors in it being `outputs`, some of them in new memory of the
    device if `made`. None for what is none, as views are."""
    inputs = list(tensors_in([*args, *kwargs.values()]))
    if not outputs or not (made or func._schema.is_mutable or outputs[0].device.type != DEVICE):
        return None
    here = [t for t in inputs if t.device.type == DEVICE]
    there = [t for t in outputs if t.device.type == DEVICE]
    if not here and not there:
        return None
    into = name_of(func) == "copy_" and args[1].device.type != DEVICE
    if there and (into or (inputs and not here and name_of(func) == "_to_copy")):
        return None, sum(map(_nbytes, there)), 0
    if here and not there:
        return None, 0, sum(map(_nbytes, outputs))
    if name_of(func) in NOTHING_DONE:
        return None
    moved = sum(map(_nbytes, here)) + sum(map(_nbytes, there))
    formula = flop_registry.get(func._overloadpacket)
    flop = int(formula(*args, **kwargs, out_val=out)) if formula else 0
    return (_kind(func, here, flop), flop, moved), 0, 0


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Those among arguments or results, in lists too."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_in(value)


@functools.cache
def name_of(func: Any) -> str:
    """An operation's name without namespace and overload."""
    return str(func._schema.name).split("::")[-1]


def _nbytes(tensor: torch.Tensor) -> int:
    """Of what there is to read or write: a dimension that only repeats costs nothing."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride) * tensor.element_size()


def _kind(func: Any, inputs: list[torch.Tensor], flop: int) -> str:
    """Which of a GPU's rates bounds an operation: `memory`, or matrix units by precision."""
    if not flop:
        return "memory"
    size = min(t.element_size() for t in inputs if t.is_floating_point())
    if size == 1:
        return "float8"
    if size == 4:
        return "float32_convolution" if "convolution" in name_of(func) else "float32"
    return "float16"
