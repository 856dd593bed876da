"""Builds of PyTorch without CUDA: fake `cuda` tensors work in them, but for methods that ask the missing CUDA for a
device guard before anything else. These are done by the operations that they stand for, the same ones in any build."""

from types import EllipsisType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Item = int | slice | EllipsisType | None

SAME = {
    torch.Tensor.contiguous: torch.ops.aten.contiguous.default,
    torch.Tensor.copy_: torch.ops.aten.copy_.default,
}


class Unguarded(TorchFunctionMode):
    """Replaces `tensor[...]` and `tensor[...] = tensor` (of ints, slices, `None` and `...`) and the methods of `SAME`
    for a `with` block."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            items = args[1] if isinstance(args[1], tuple) else (args[1],)
            if all(isinstance(item, Item) and not isinstance(item, bool) for item in items):
                part = indexed(args[0], items)
                if func is torch.Tensor.__getitem__:
                    return part
                if isinstance(args[2], torch.Tensor):
                    return torch.ops.aten.copy_(part, args[2])
        return SAME.get(func, func)(*args, **(kwargs or {}))


def indexed(tensor: torch.Tensor, items: tuple[Item, ...]) -> torch.Tensor:
    """`tensor[items]`, a view. Raises IndexError for more items than dimensions."""
    taken = sum(isinstance(item, int | slice) for item in items)
    if taken > tensor.dim():
        raise IndexError(f"too many indices for tensor of dimension {tensor.dim()}")
    out, dim = tensor, 0
    for item in items:
        if item is None:
            out = out.unsqueeze(dim)
            dim += 1
        elif isinstance(item, slice):
            out = torch.ops.aten.slice(out, dim, item.start, item.stop, item.step or 1)
            dim += 1
        elif isinstance(item, int):
            out = out.select(dim, item)
        else:
            dim += tensor.dim() - taken
    return out
