"""What operations on fake tensors give: PyTorch works it out once for all tensors of equal layouts.

PyTorch's own cache of the same (`FakeTensorMode.cache`) takes ten times as long to ask."""

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

    __slots__ = ("key", "tensors")

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.tensors: list[FakeTensor] = []
        key: list[Hashable] = [func, torch.get_default_dtype(), *kwargs]
        plain = _describe(args, key, self.tensors) and _describe(kwargs.values(), key, self.tensors)
        self.key = tuple(key) if plain else None


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor that an operation gives: the argument at place `same`, a view of the one at place `view`, or a new one.
    Places count the tensors among the arguments."""

    same: int | None
    view: int | None
    size: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    """Bytes of the storage between the beginning of the viewed tensor and that of the view."""
    dtype: torch.dtype
    device: torch.device
    state: dict[str, Any]
    """What a FakeTensor holds beside its layout."""

    def rebuilt(self, tensors: Sequence[FakeTensor]) -> torch.Tensor:
        """The tensor that other arguments of the same layouts give. Call it with dispatch disabled, or the new tensor
        is tracked twice."""
        if self.same is not None:
            return tensors[self.same]
        if self.view is None:
            data = torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")
        else:
            viewed = tensors[self.view]
            data = torch.empty_strided((), (), dtype=self.dtype, device="meta")
            offset = (_start(viewed) + self.start) // self.dtype.itemsize
            data.set_(viewed.untyped_storage(), offset, self.size, self.stride)
        made: torch.Tensor = torch.Tensor._make_subclass(
            FakeTensor, data, False, dispatch_device=True, device_for_backend_keys=self.device
        )
        made.__dict__.update(self.state)
        return made


class Result:
    """What an operation gave, to be rebuilt from other tensors of the same layouts."""

    def __init__(self, out: Any, tensors: Sequence[FakeTensor]) -> None:
        """Raises ValueError for what cannot be rebuilt."""
        self.kind = type(out) if isinstance(out, tuple | list) else None
        values = out if self.kind else (out,)
        self.outputs = [v if type(v) in PLAIN else _output(v, tensors) for v in values]
        pairs = zip(values, self.outputs, strict=True)
        new = [v for v, o in pairs if type(o) is Output and o.same is None and o.view is None]
        if len(set(map(storage_key, new))) < len(new):
            raise ValueError("new tensors that share a storage")

    def rebuilt(self, tensors: Sequence[FakeTensor]) -> Any:
        """What the operation gives for these tensors."""
        with torch._C._DisableTorchDispatch():
            out = [o.rebuilt(tensors) if type(o) is Output else o for o in self.outputs]
        return self.kind(out) if self.kind else out[0]


def _describe(values: Iterable[Any], key: list[Hashable], tensors: list[FakeTensor]) -> bool:
    """Add to `key` what tells values apart, and to `tensors` the tensors among them; whether that could be done."""
    for value in values:
        kind: Any = type(value)
        if kind is FakeTensor:
            if value.constant is not None:
                return False  # what comes of it depends on its numbers
            tensors.append(value)
            key += (value.shape, value.stride(), value.dtype, value.device)
        elif kind is list or kind is tuple:
            key.append(len(value))
            if not _describe(value, key, tensors):
                return False
        elif kind in PLAIN:
            key += (kind, value)
        else:
            return False
    return True


def _output(value: Any, tensors: Sequence[FakeTensor]) -> Output:
    plain = type(value) is FakeTensor and value.constant is None
    if not plain or value.requires_grad or value.is_complex():
        raise ValueError("no plain tensor")
    same = _place(tensor is value for tensor in tensors)
    view = _place(storage_key(t) == storage_key(value) for t in tensors) if same is None else None
    is_new = same is None and view is None
    if is_new and (value.storage_offset() or value.untyped_storage().nbytes() != _nbytes(value)):
        raise ValueError("a part of a storage that nobody was given")
    start = 0 if view is None else _start(value) - _start(tensors[view])
    state = dict(vars(value))
    return Output(same, view, tuple(value.shape), value.stride(), start, value.dtype, value.device, state)


def _place(matches: Iterable[bool]) -> int | None:
    """The only place that matches, if any does."""
    places = [place for place, match in enumerate(matches) if match]
    if len(places) > 1:
        raise ValueError("it cannot be told which one of the arguments it is of")
    return places[0] if places else None


def _start(tensor: torch.Tensor) -> int:
    """Bytes of the storage before the tensor."""
    return int(tensor.storage_offset() * tensor.itemsize)


def _nbytes(tensor: torch.Tensor) -> int:
    """Bytes of the smallest storage that holds the tensor."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.itemsize if tensor.numel() else 0
