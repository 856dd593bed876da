"""What a run over fake tensors would hold and do on the device: live storages, their peak, and the cost."""

import contextlib
import dataclasses
import functools
import heapq
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from svdsweep.predict.cost import DEVICE, Cost, cost_of, name_of, tensors_in, workspace_bytes
from svdsweep.predict.curve import Curve
from svdsweep.predict.fake_gpu import is_channels_last, parts, storage_key
from svdsweep.predict.op_cache import Call, Key, Result
from svdsweep.predict.prediction import ACTIVATIONS, ATTENTION, KINDS, MIB, TRANSFERS, WEIGHTS, Alive

BLOCK = 512
"""The caching allocator gives memory in multiples of this many bytes."""
LARGEST_SHOWN = 6
WORKSPACE = -1
"""Key of what lives for the moment of one operation."""
COPIES_FIRST = (torch.ops.aten.native_group_norm.default, torch.ops.aten.native_layer_norm.default)
"""CUDA kernels that copy an input unless it is contiguous, and hold the copy until they are done (PyTorch:
aten/src/ATen/native/group_norm.cpp and layer_norm.cpp)."""
ASK_DEVICE, ASK_NUMBER = torch.ops.prim.device.default, torch.ops.aten._local_scalar_dense.default
CLONE, CONVOLUTION = torch.ops.aten.clone.default, torch.ops.aten.convolution.default
T = TypeVar("T")


@dataclass
class Block:
    """One live storage on the device."""

    nbytes: int
    operation: str
    module: str
    shape: torch.Size
    dtype: torch.dtype
    watch: Any = None
    """Tells the tracker when the storage dies."""
    kind: int = ACTIVATIONS
    """Its place in `KINDS`."""


@dataclass(frozen=True)
class Peak:
    """The moment of most live bytes since the last `Tracker.mark`."""

    nbytes: int
    weights: int
    operation: str
    module: str
    largest: list[Alive]
    points: list[list[int]]
    """As `prediction.Stretch` has them."""


class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts storages on the fake device from the operations that make them until they die; within `fake_gpu`.

    With `workspaces` also what cuDNN holds inside a convolution, which is no tensor of the pipeline's."""

    op_cache: ClassVar[dict[Key | None, tuple[Result, Cost]]] = {}
    """What operations give and cost, shared by all simulations of this process."""

    def __init__(self, workspaces: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workspaces = workspaces
        self.live: dict[int, Block] = {}
        self.nbytes = 0
        self.parts = [0] * len(KINDS)
        """The live bytes by kind; `nbytes` is their sum."""
        self.names: dict[int, str] = {}
        self.path = [""]
        """The modules that are running, from the pipeline itself, which has no name, to the innermost."""
        self.kinds = [ACTIVATIONS]
        """The kind of what each of them makes."""
        self.cost = Cost()
        self.timestep = 0.0
        """The step that is simulated; the one number that is asked of a fake tensor."""
        self._curves = [Curve(self.parts)]
        """Of the stretch under way, and of the calls in it that are measured."""
        self._peak_bytes = 0
        self._peak_at = ("", "")
        self._peak = Peak(0, 0, "", "", [], [])
        self._stale = False
        self._hooks: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch asks: no, nothing is compiled here, and to skip it costs time in each operation."""
        return False

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

    def mark(self) -> tuple[Peak, Cost]:
        """Peak and cost since the last mark; begins a new stretch."""
        self._look()
        stretch = dataclasses.replace(self._peak, points=self._curves[0].points()), self.cost
        self.cost, self._curves = Cost(), [Curve(self.parts)]
        self._reach("", "")
        return stretch

    def measured(self, call: Callable[[], T]) -> tuple[T, Cost, Curve]:
        """What `call` gives, its cost, and what lived meanwhile. Calls may be nested."""
        outer, self.cost = self.cost, Cost()
        self._curves.append(Curve(self.parts))
        out = call()
        cost, self.cost = self.cost, outer
        outer.add(cost)
        return out, cost, self._curves.pop()

    def repeat(self, cost: Cost, curve: Curve) -> None:
        """Count a cost once more, and its memory beside what lives now."""
        self.cost.add(cost)
        for share, ticks in curve.replay(self.parts):
            nbytes = sum(share)
            if nbytes > self._peak_bytes:
                self._look()
                self._peak_bytes = nbytes
                self._peak = dataclasses.replace(self._peak, nbytes=nbytes, weights=share[WEIGHTS])
            self._see(nbytes, share)
            for _ in range(ticks):
                self._tick()
                self._see(nbytes, share)

    def is_weight(self, tensor: torch.Tensor) -> None:
        """Note that a tensor's storage (every one of a quantized tensor's) is now a parameter's or buffer's."""
        for part in parts(tensor):
            if block := self.live.get(storage_key(part)):
                self._turn(block, WEIGHTS)

    def _came_from_the_host(self, tensor: torch.Tensor) -> None:
        block = self.live.get(storage_key(tensor))
        if block and block.kind != WEIGHTS:
            self._turn(block, TRANSFERS)

    def _turn(self, block: Block, kind: int) -> None:
        """A live block is of another kind from now on."""
        self.parts[block.kind] -= block.nbytes
        self.parts[kind] += block.nbytes
        block.kind = kind
        self._see(self.nbytes, self.parts)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is ASK_DEVICE:
            return args[0].device
        if func is ASK_NUMBER:
            return self.timestep
        if any(kind is not FakeTensor and kind.__module__.startswith("torchao") for kind in types):
            return NotImplemented  # quantized: its own operations on its parts come by here
        if layout := _layout(func, args):
            args = (self._laid_out(args[0], layout, name_of(func)), *args[1:])
        out, cost = self._done(func, args, kwargs or {}, name_of(func))
        self.cost.add(cost)
        if cost.h2d_bytes:
            self._came_from_the_host(out)
        if self.workspaces and func is CONVOLUTION and not layout:
            self._convolve(args[0], args[1], out)
        return out

    def _convolve(self, x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
        """Hold what is alive while a convolution computes on the device."""
        if out.device.type == DEVICE:
            nbytes = workspace_bytes(x, weight, out)
            block = Block(nbytes, "cuDNN's copies", self.path[-1], out.shape, out.dtype, kind=self.kinds[-1])
            self._hold(WORKSPACE, block, "convolution")
            self._drop(WORKSPACE, None)

    def _laid_out(self, tensor: torch.Tensor, layout: torch.memory_format, operation: str) -> torch.Tensor:
        """The tensor itself if it lies on the device as `operation` wants it, else the copy that its kernel makes."""
        if tensor.device.type != DEVICE or tensor.is_contiguous(memory_format=layout):
            return tensor
        copy: torch.Tensor
        copy, cost = self._done(CLONE, (tensor,), {"memory_format": layout}, operation)
        if layout is torch.channels_last or is_channels_last(tensor):
            self.cost.add(cost)
        return copy

    def _done(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], operation: str
    ) -> tuple[Any, Cost]:
        """What a function gives, alive from now on as made by `operation`, and what it costs."""
        call = Call(func, args, kwargs)
        if call.key in self.op_cache:
            result, cost = self.op_cache[call.key]
            out = result.rebuilt(call.tensors)
            for tensor in tensors_in((out,)):
                self._add(tensor, operation)
            return out, cost
        out = func(*args, **kwargs)
        new = [self._add(tensor, operation) for tensor in tensors_in((out,))]
        cost = cost_of(func, args, kwargs, out, any(new))
        if call.key and torch.Tag.inplace_view not in func.tags:
            with contextlib.suppress(ValueError):
                self.op_cache[call.key] = Result(out, call.tensors), cost
        return out, cost

    def _add(self, tensor: torch.Tensor, operation: str) -> bool:
        """Count the tensor's storage until it dies; whether it is new on the device."""
        if tensor.device.type != DEVICE:
            return False
        storage = tensor.untyped_storage()
        key = int(storage._cdata)
        if key in self.live:
            return False
        nbytes = -(-storage.nbytes() // BLOCK) * BLOCK
        watch = weakref.ref(storage, functools.partial(self._drop, key))
        made = Block(nbytes, operation, self.path[-1], tensor.shape, tensor.dtype, watch, self.kinds[-1])
        self._hold(key, made, operation)
        return True

    def _hold(self, key: int, block: Block, operation: str) -> None:
        self.live[key] = block
        self.nbytes += block.nbytes
        self.parts[block.kind] += block.nbytes
        self._see(self.nbytes, self.parts)
        if self.nbytes > self._peak_bytes:
            self._reach(operation, block.module)

    def _drop(self, key: int, _dead: Any) -> None:
        if self._stale:
            self._look()
        block = self.live.pop(key)
        self.nbytes -= block.nbytes
        self.parts[block.kind] -= block.nbytes

    def _reach(self, operation: str, module: str) -> None:
        self._peak_bytes, self._peak_at, self._stale = self.nbytes, (operation, module), True

    def _look(self) -> None:
        """See what is alive at the peak, which is now: put off until something dies, for the peak may yet grow."""
        if not self._stale:
            return
        self._stale = False
        activations = (b for b in self.live.values() if b.kind != WEIGHTS)
        largest = [
            Alive(b.nbytes / MIB, tuple(b.shape), str(b.dtype).removeprefix("torch."), b.operation, b.module)
            for b in heapq.nlargest(LARGEST_SHOWN, activations, key=lambda b: b.nbytes)
        ]
        self._peak = Peak(self._peak_bytes, self.parts[WEIGHTS], *self._peak_at, largest, [])

    def _enter_module(self, module: torch.nn.Module, _args: Any) -> None:
        name = type(module).__name__
        self.path.append(self.names.get(id(module), name))
        self.kinds.append(ATTENTION if name.endswith("Attention") else self.kinds[-1])

    def _leave_module(self, _module: torch.nn.Module, _args: Any, _out: Any) -> None:
        self.path.pop()
        self.kinds.pop()
        self._tick()

    def _see(self, nbytes: int, parts: Sequence[int]) -> None:
        for curve in self._curves:
            if nbytes >= curve.highest:
                curve.see(nbytes, parts)

    def _tick(self) -> None:
        for curve in self._curves:
            curve.tick(self.parts)


def _layout(func: Any, args: tuple[Any, ...]) -> torch.memory_format | None:
    """The layout that a kernel copies its first argument into, if it asks for one; a convolution takes its weight's."""
    if func in COPIES_FIRST:
        return torch.contiguous_format
    return torch.channels_last if func is CONVOLUTION and is_channels_last(args[1]) else None
