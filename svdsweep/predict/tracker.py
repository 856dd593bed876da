"""What a run over fake tensors would hold and do on the device: live storages, their peak, and the work done."""

import dataclasses
import functools
import heapq
import math
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from svdsweep.predict.faking import is_channels_last, parts, storage_key
from svdsweep.predict.summary import MIB, Alive

BLOCK = 512
"""The caching allocator gives memory in multiples of this many bytes."""
LARGEST_SHOWN = 6
COPIES_FIRST = ("native_group_norm", "native_layer_norm")
"""CUDA kernels that copy an input unless it is contiguous, and hold the copy until they are done (PyTorch:
aten/src/ATen/native/group_norm.cpp and layer_norm.cpp)."""
DEVICE = "cuda"


@dataclass
class Block:
    """One live storage on the device."""

    nbytes: int
    weight: bool
    operation: str
    module: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    watch: Any = None


@dataclass(frozen=True)
class Peak:
    """The moment of most live bytes since the last `Tracker.mark`."""

    nbytes: int
    weights: int
    operation: str
    module: str
    largest: list[Alive]


@dataclass
class Work:
    """What was done: kernels as (kind, flop, bytes read and written) → count; bytes to the device and back."""

    kernels: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    h2d_bytes: int = 0
    d2h_bytes: int = 0

    def without(self, earlier: "Work") -> "Work":
        """What was done since."""
        return Work(
            self.kernels - earlier.kernels,
            self.h2d_bytes - earlier.h2d_bytes,
            self.d2h_bytes - earlier.d2h_bytes,
        )


Found = tuple[Peak, Work]


class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages on the fake device from the operations that make them until they die; within `fake_gpu`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, Block] = {}
        self.nbytes = 0
        self.names: dict[int, str] = {}
        self.path: list[str] = []
        self.work = Work()
        self.timestep = 0.0
        """The one number that is asked of a fake tensor."""
        self.highest = 0
        """Most live bytes since a caller set it."""
        self._peak_bytes = 0
        self._peak_at = ("", "")
        self._peak = Peak(0, 0, "", "", [])
        self._stale = False
        self._hooks: list[Any] = []

    def __enter__(self) -> "Tracker":
        self._hooks = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def name_modules(self, networks: dict[str, torch.nn.Module]) -> None:
        """Teach the names of modules, for telling where the peak is."""
        for prefix, network in networks.items():
            for name, module in network.named_modules():
                self.names[id(module)] = f"{prefix}.{name}" if name else prefix

    def restart(self) -> None:
        """Begin a new stretch and forget the one before."""
        self.mark()

    def mark(self) -> Found:
        """Peak and work since the last mark; begins a new stretch."""
        self._look()
        found = self._peak, self.work
        self.work = Work()
        self._reach("", "")
        return found

    def so_far(self) -> Work:
        """A copy of the work since the last mark."""
        return Work(self.work.kernels.copy(), self.work.h2d_bytes, self.work.d2h_bytes)

    def repeat(self, work: Work, rise: int) -> None:
        """Count work as done once more, with its peak `rise` bytes above what lives now."""
        if self.nbytes + rise > self._peak_bytes:
            self._look()
            self._peak_bytes = self.nbytes + rise
            self._peak = dataclasses.replace(self._peak, nbytes=self._peak_bytes)
        self.work.kernels.update(work.kernels)
        self.work.h2d_bytes += work.h2d_bytes
        self.work.d2h_bytes += work.d2h_bytes

    def is_weight(self, tensor: torch.Tensor) -> None:
        """Note that a tensor's storage (every one of a quantized tensor's) is now a parameter's."""
        for part in parts(tensor):
            if block := self.live.get(storage_key(part)):
                block.weight = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(kind.__module__.startswith("torchao") for kind in types):
            return NotImplemented  # quantized: its own operations on its parts come by here
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return self.timestep
        layout = _layout(func, args)
        if layout and args[0].device.type == DEVICE and not args[0].is_contiguous(memory_format=layout):
            copy = args[0].clone(memory_format=layout)
            self._add(copy, func)
            if layout is torch.channels_last or is_channels_last(args[0]):
                self.work.kernels["memory", 0, 2 * _nbytes(copy)] += 1
            args = (copy, *args[1:])
        out = func(*args, **kwargs)
        outputs = list(_tensors(out if isinstance(out, tuple | list) else (out,)))
        made = False
        for tensor in outputs:
            made |= self._add(tensor, func)
        self._count(func, args, kwargs, out, outputs, made)
        return out

    def _add(self, tensor: torch.Tensor, func: Any) -> bool:
        """Whether the tensor's storage is new on the device."""
        if tensor.device.type != DEVICE:
            return False
        storage = tensor.untyped_storage()
        key = int(storage._cdata)
        if key in self.live:
            return False
        nbytes = -(-storage.nbytes() // BLOCK) * BLOCK
        module = self.path[-1] if self.path else ""
        block = Block(nbytes, False, _name(func), module, tuple(tensor.shape), tensor.dtype)
        block.watch = weakref.ref(storage, functools.partial(self._drop, key))
        self.live[key] = block
        self.nbytes += nbytes
        self.highest = max(self.highest, self.nbytes)
        if self.nbytes > self._peak_bytes:
            self._reach(block.operation, module)
        return True

    def _drop(self, key: int, _dead: Any) -> None:
        if self._stale:
            self._look()
        self.nbytes -= self.live.pop(key).nbytes

    def _reach(self, operation: str, module: str) -> None:
        self._peak_bytes, self._peak_at, self._stale = self.nbytes, (operation, module), True

    def _look(self) -> None:
        """See what is alive at the peak, which is now: put off until something dies, for the peak may yet grow."""
        if not self._stale:
            return
        self._stale = False
        weights = sum(b.nbytes for b in self.live.values() if b.weight)
        largest = heapq.nlargest(LARGEST_SHOWN, self._activations(), key=lambda b: b.nbytes)
        shown = [
            Alive(b.nbytes / MIB, b.shape, str(b.dtype).removeprefix("torch."), b.operation, b.module)
            for b in largest
        ]
        self._peak = Peak(self._peak_bytes, weights, *self._peak_at, shown)

    def _activations(self) -> Iterator[Block]:
        return (block for block in self.live.values() if not block.weight)

    def _count(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        outputs: list[torch.Tensor],
        made: bool,
    ) -> None:
        inputs = list(_tensors([*args, *kwargs.values()]))
        if not outputs or not (made or func._schema.is_mutable or outputs[0].device.type != DEVICE):
            return  # a view
        here = [t for t in inputs if t.device.type == DEVICE]
        there = [t for t in outputs if t.device.type == DEVICE]
        if not here and not there:
            return
        into = _name(func) == "copy_" and args[1].device.type != DEVICE
        if there and (into or (inputs and not here and _name(func) == "_to_copy")):
            self.work.h2d_bytes += sum(map(_nbytes, there))
        elif here and not there:
            self.work.d2h_bytes += sum(map(_nbytes, outputs))
        elif _name(func) not in ("empty", "empty_like", "empty_strided", "new_empty"):
            moved = sum(map(_nbytes, here)) + sum(map(_nbytes, there))
            formula = flop_registry.get(func._overloadpacket)
            flop = int(formula(*args, **kwargs, out_val=out)) if formula else 0
            self.work.kernels[_kind(func, here, flop), flop, moved] += 1

    def _enter_module(self, module: torch.nn.Module, _args: Any) -> None:
        self.path.append(self.names.get(id(module), type(module).__name__))

    def _leave_module(self, _module: torch.nn.Module, _args: Any, _out: Any) -> None:
        self.path.pop()


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _nbytes(tensor: torch.Tensor) -> int:
    """Of what there is to read or write: a dimension that only repeats costs nothing."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride) * tensor.element_size()


def _name(func: Any) -> str:
    return str(func._schema.name).split("::")[-1]


def _layout(func: Any, args: tuple[Any, ...]) -> torch.memory_format | None:
    """The layout that a kernel copies its first argument into, if it asks for one; a convolution takes its weight's."""
    if _name(func) in COPIES_FIRST:
        return torch.contiguous_format
    return torch.channels_last if _name(func) == "convolution" and is_channels_last(args[1]) else None


def _kind(func: Any, inputs: list[torch.Tensor], flop: int) -> str:
    """Which of a GPU's rates bounds an operation: `memory`, or matrix units by precision."""
    if not flop:
        return "memory"
    size = min(t.element_size() for t in inputs if t.is_floating_point())
    if size == 1:
        return "float8"
    if size == 4:
        return "float32_convolution" if "convolution" in _name(func) else "float32"
    return "float16"
