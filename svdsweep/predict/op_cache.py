"""What operations on fake tensors give, worked out by PyTorch once for all layouts that are alike, and then made.

PyTorch's own memory of them (`FakeTensorMode.cache`) takes ten times as long to ask."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from svdsweep.predict.fake_gpu import storage_key

PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.layout, torch.memory_format, torch.device}
"""Types of arguments that are told apart by their values."""
Key = tuple[Hashable, ...]


class Call:
    """An operation's arguments: the tensors among them, and what tells this call from others, if anything can."""

    __slots__ = ("given", "key")

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.given: list[FakeTensor] = []
        key: list[Hashable] = [func, torch.get_default_dtype(), *kwargs]
        plain = _describe(args, key, self.given) and _describe(kwargs.values(), key, self.given)
        self.key = tuple(key) if plain else None


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor that an operation gives: the one at place `same` of those given, a view of the one at place `view`, or a
    new one."""

    same: int | None
    view: int | None
    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    """Of a view: bytes of the storage before it, less those before the tensor that it is of."""
    dtype: torch.dtype
    device: torch.device
    state: dict[str, Any]
    """What a FakeTensor holds beside its layout."""

    def again(self, given: Sequence[FakeTensor]) -> torch.Tensor:
        """The tensor; only while operations go to no mode."""
        if self.same is not None:
            return given[self.same]
        if self.view is None:
            data = torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")
        else:
            of = given[self.view]
            data = torch.empty_strided((), (), dtype=self.dtype, device="meta")
            offset = (_start(of) + self.start) // self.dtype.itemsize
            data.set_(of.untyped_storage(), offset, self.size, self.stride)
        made: torch.Tensor = torch.Tensor._make_subclass(
            FakeTensor, data, False, dispatch_device=True, device_for_backend_keys=self.device
        )
        made.__dict__.update(self.state)
        return made


class Result:
    """What an operation gave, to be made again of tensors of the same layouts."""

    def __init__(self, out: Any, given: Sequence[FakeTensor]) -> None:
        """Raises ValueError for what cannot be made again."""
        self.kind = type(out) if isinstance(out, tuple | list) else None
        values = out if self.kind else (out,)
        self.made = [_made(value, given) for value in values]
        new = [storage_key(v) for v, made in zip(values, self.made, strict=True) if _is_new(made)]
        if len(set(new)) < len(new):
            raise ValueError("new tensors that share a storage")

    def again(self, given: Sequence[FakeTensor]) -> Any:
        """The same, of these tensors."""
        with torch._C._DisableTorchDispatch():
            out = [made.again(given) if type(made) is Made else made for made in self.made]
        return self.kind(out) if self.kind else out[0]


def _describe(values: Iterable[Any], key: list[Hashable], given: list[FakeTensor]) -> bool:
    """Add to `key` what tells values apart, and to `given` the tensors among them; whether that could be done."""
    for value in values:
        kind: Any = type(value)
        if kind is FakeTensor:
            if value.constant is not None:
                return False  # what comes of it depends on its numbers
            given.append(value)
            key += (value.shape, value.stride(), value.dtype, value.device)
        elif kind is list or kind is tuple:
            key.append(len(value))
            if not _describe(value, key, given):
                return False
        elif kind in PLAIN:
            key.append(kind)
            key.append(value)
        else:
            return False
    return True


def _made(value: Any, given: Sequence[FakeTensor]) -> Any:
    if type(value) in PLAIN:
        return value
    if (
        type(value) is not FakeTensor
        or value.constant is not None
        or value.requires_grad
        or value.is_complex()
    ):
        raise ValueError("no plain tensor")
    same = [place for place, tensor in enumerate(given) if tensor is value]
    views = [place for place, tensor in enumerate(given) if storage_key(tensor) == storage_key(value)]
    if len(same or views) > 1:
        raise ValueError("it cannot be told which one of those given it is of")
    if not views and (value.storage_offset() or value.untyped_storage().nbytes() != _nbytes(value)):
        raise ValueError("a part of a storage that nobody was given")
    return Made(
        same[0] if same else None,
        views[0] if views else None,
        tuple(value.shape),
        value.stride(),
        _start(value) - _start(given[views[0]]) if views else 0,
        value.dtype,
        value.device,
        dict(vars(value)),
    )


def _is_new(made: Any) -> bool:
    return type(made) is Made and made.same is None and made.view is None


def _start(tensor: torch.Tensor) -> int:
    """Bytes of the storage before the tensor."""
    return int(tensor.storage_offset() * tensor.itemsize)


def _nbytes(tensor: torch.Tensor) -> int:
    """Of the smallest storage that holds the tensor."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.itemsize if tensor.numel() else 0
