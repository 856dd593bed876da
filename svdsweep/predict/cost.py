"""The cost of operations on a GPU: products, bytes read and written, bytes moved to the device and back."""

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
COPIES = {"copy_": 1, "_to_copy": 0}
"""Operations that may copy from the host, and the place of the argument that they read."""

COPIED_WHOLE_BYTES = 2**31
"""A convolution with a larger input or output was seen to take no such copies (8 and 25 frames of 576×1024)."""


@dataclass
class Cost:
    """Kernels as (kind, flop, bytes read and written) → count; bytes to the device and back."""

    kernels: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    h2d_bytes: int = 0
    d2h_bytes: int = 0

    def add(self, other: "Cost") -> None:
        """Count another cost here too."""
        self.kernels.update(other.kernels)
        self.h2d_bytes += other.h2d_bytes
        self.d2h_bytes += other.d2h_bytes


FREE = Cost()
"""The cost of views, and of whatever does nothing on the device."""


def cost_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, made: bool) -> Cost:
    """The cost of an operation that gave `out`, with tensors in new memory of the device if `made`."""
    outputs = list(tensors_in((out,)))
    if not outputs or not (made or func._schema.is_mutable or outputs[0].device.type != DEVICE):
        return FREE
    read, written = _on_device(tensors_in([*args, *kwargs.values()])), _on_device(outputs)
    if not read and not written:
        return FREE
    source = COPIES.get(name_of(func))
    if written and source is not None and args[source].device.type != DEVICE:
        return Cost(h2d_bytes=sum(map(_nbytes, written)))
    if not written:
        return Cost(d2h_bytes=sum(map(_nbytes, outputs)))
    if name_of(func) in NOTHING_DONE:
        return FREE
    formula = flop_registry.get(func._overloadpacket)
    flop = int(formula(*args, **kwargs, out_val=out)) if formula else 0
    return Cost(Counter([(_kind(func, read, flop), flop, sum(map(_nbytes, read + written)))]))


def workspace_bytes(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> int:
    """What cuDNN holds beside the input (n, C, …) and output of a convolution that lie channel by channel: a copy of
    each with its channels last, for its kernels on tensor cores want them so. Measured on an H200 with cuDNN 9.19:
    0.55 GiB beside 0.27 of input and as much of output. A 1×1 convolution is a matrix product as it lies."""
    nbytes = [t.numel() * t.element_size() for t in (x, out)]
    copied = max(weight.shape[2:]) > 1 and max(nbytes) < COPIED_WHOLE_BYTES
    return sum(nbytes) if copied else 0


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among arguments or results, in lists too."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from tensors_in(value)


@functools.cache
def name_of(func: Any) -> str:
    """An operation's name without namespace and overload."""
    return str(func._schema.name).split("::")[-1]


def _on_device(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor for tensor in tensors if tensor.device.type == DEVICE]


def _nbytes(tensor: torch.Tensor) -> int:
    """Bytes that there are to read or write: a dimension that only repeats costs nothing."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride) * tensor.element_size()


def _kind(func: Any, inputs: list[torch.Tensor], flop: int) -> str:
    """Which of a GPU's rates bounds an operation: `memory`, or matrix units by precision."""
    if not flop:
        return "memory"
    size = min(t.element_size() for t in inputs if t.is_floating_point())
    float32 = "float32_convolution" if "convolution" in name_of(func) else "float32"
    return {1: "float8", 4: float32}.get(size, "float16")
