"""A GPU that is not there: fake `cuda` tensors, and stand-ins for what PyTorch and its hooks cannot do with them.

Everything here holds inside `fake_gpu()` only. Fake tensors have shapes, types and storages of the right size, and no
data; moves of weights between host and device are real moves of fake storages, so that the offload hooks of diffusers
and accelerate run as they are. On pinned memory and CUDA streams everything happens at once, in the order of the calls.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import accelerate.hooks
import torch
import torch.nn.functional as F
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from svdsweep.predict.without_cuda import Unguarded

FLASH_HEAD_LIMIT = 256
"""Widest head (elements) of PyTorch's flash attention."""
CUTLASS_HEAD_LIMIT = 128
"""Above it, the memory-efficient kernel accumulates in a float32 buffer of the output's shape unless that is the
output itself (PyTorch: aten/src/ATen/native/transformers/cuda/mem_eff_attention, `kNeedsOutputAccumulatorBuffer`)."""
OnWeight = Callable[[torch.Tensor], None]


@contextlib.contextmanager
def fake_gpu(on_weight: OnWeight) -> Iterator[FakeTensorMode]:
    """Tensors made inside are fake, and attention goes to the kernel that CUDA would take.

    `on_weight` hears of every storage that becomes a parameter's or buffer's."""
    stand_ins: list[tuple[Any, str, Any]] = [
        (FakeTensor, "data", _data(on_weight)),
        (FakeTensor, "data_ptr", lambda x: storage_key(x) + x.storage_offset() * x.element_size()),
        (FakeTensor, "pin_memory", lambda self, *_: self),
        (FakeTensor, "is_pinned", lambda self, *_: True),
        (FakeTensor, "record_stream", lambda self, *_: None),
        (F, "scaled_dot_product_attention", _attention_on_a_gpu(F.scaled_dot_product_attention)),
        (torch.nn.Module, "_apply", _apply(on_weight)),
        (accelerate.hooks, "set_module_tensor_to_device", _set_module_tensor(on_weight)),
        (torch._C, "_conv_determine_backend_memory_format", _conv_layout),
        (torch.cuda, "Stream", Stream),
        (torch.cuda, "stream", lambda _stream: contextlib.nullcontext()),
        (torch.cuda, "current_stream", lambda *_: Stream()),
        (torch.cuda, "synchronize", lambda *_: None),
        (torch.cuda, "empty_cache", lambda: None),
        (fake_tensor, "init_gpu_context", lambda *_: None),  # else a real GPU would get a context
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, stand_in in stand_ins:
            if hasattr(owner, name):
                stack.enter_context(patch.object(owner, name, stand_in))
        mode = stack.enter_context(_mode())
        stack.enter_context(torch.no_grad())
        if torch.version.cuda is None:
            stack.enter_context(Unguarded())
        yield mode


def _attention_on_a_gpu(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`scaled_dot_product_attention` by the kernel that a GPU would run: `plain` takes fake tensors the way by plain
    matrix products, which holds every score. PyTorch's own switches (`sdpa_kernel`) are obeyed."""

    def attend(query: Any, key: Any, value: Any, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        if _flash(query, attn_mask):
            return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, False, False)[0]
        switches: Any = torch.backends.cuda
        if not switches.mem_efficient_sdp_enabled():
            return plain(query, key, value, attn_mask, *args, **kwargs)
        wide = query.shape[-1] > CUTLASS_HEAD_LIMIT and query.dtype != torch.float32
        accumulator = torch.empty(query.shape, device=query.device, dtype=torch.float32) if wide else None
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        out = efficient(query, key, value, attn_mask, False, 0.0, False)[0]
        del accumulator
        return out

    return attend


@functools.cache
def _mode() -> FakeTensorMode:
    """One mode for all simulations, so that one `op_cache` serves them all; PyTorch's own cache is off."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    mode.cache_enabled = False
    return mode


def _flash(q: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether flash attention (or cuDNN's, which holds no more) may and can be taken."""
    half = q.dtype in (torch.float16, torch.bfloat16)
    possible = half and mask is None and q.shape[-1] <= FLASH_HEAD_LIMIT
    switches: Any = torch.backends.cuda
    others = switches.mem_efficient_sdp_enabled() or switches.math_sdp_enabled()
    return possible and (switches.flash_sdp_enabled() or (switches.cudnn_sdp_enabled() and not others))


def materialize(network: torch.nn.Module, dtype: torch.dtype, device: str = "cpu") -> None:
    """Give a network of the meta device fake tensors on `device`, floating ones in `dtype`."""
    for module in network.modules():
        for name, p in list(module._parameters.items()):
            if p is not None:
                module._parameters[name] = _parameter(torch.empty(p.shape, device=device, dtype=dtype))
        for name, b in list(module._buffers.items()):
            if b is not None:
                kind = dtype if b.is_floating_point() else b.dtype
                module._buffers[name] = torch.empty(b.shape, device=device, dtype=kind)


def storage_key(tensor: torch.Tensor) -> int:
    """What tells one storage from another while it lives; hooks get it as `data_ptr` of a tensor at its beginning."""
    return int(tensor.untyped_storage()._cdata)


def parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors with a storage that a tensor is made of: itself, or the parts of a quantized one."""
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from parts(getattr(tensor, name))
    else:
        yield tensor


def is_channels_last(tensor: torch.Tensor) -> bool:
    """Whether (n, C, H, W) lies in memory with its channels last, and not in the usual order too."""
    other = tensor.dim() == 4 and not tensor.is_contiguous()
    return other and tensor.is_contiguous(memory_format=torch.channels_last)


class Stream:
    """A CUDA stream on which everything is done at once."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def synchronize(self, _other: Any = None) -> None:
        """Return at once: nothing is under way."""

    wait_stream = wait_event = record_event = synchronize


def _data(on_weight: OnWeight) -> property:
    """`Tensor.data`, whose setter also moves the fake tensor to the device of its new storage."""
    data: Any = torch.Tensor.data

    def set_data(self: FakeTensor, value: torch.Tensor) -> None:
        data.__set__(self, value)
        self.fake_device = value.device
        on_weight(self)

    return property(lambda self: data.__get__(self), set_data)


def _apply(on_weight: OnWeight) -> Callable[..., torch.nn.Module]:
    """`Module._apply` (`.to`): a parameter takes over the new storage, as real ones do and fake ones refuse to."""

    def apply(self: torch.nn.Module, fn: Callable[..., Any], recurse: bool = True) -> torch.nn.Module:
        if recurse:
            for child in self.children():
                child._apply(fn)  # type: ignore[no-untyped-call]
        for name, p in self._parameters.items():
            if is_traceable_wrapper_subclass(p):  # quantized: several storages, which cannot be taken over
                new = self._parameters[name] = _parameter(fn(p))
                on_weight(new)
            elif p is not None:
                p.data = fn(p)
        for name, b in self._buffers.items():
            if b is not None:
                new = self._buffers[name] = fn(b)
                on_weight(new)
        return self

    return apply


def _set_module_tensor(on_weight: OnWeight) -> Callable[..., None]:
    """accelerate's `set_module_tensor_to_device` makes a parameter of the old one's class, which fake ones cannot."""

    def set_tensor(
        module: Any, tensor_name: str, device: Any, value: Any = None, dtype: Any = None, **_: Any
    ) -> None:
        path, name = tensor_name.rpartition(".")[::2]
        owner = module.get_submodule(path)
        old = getattr(owner, name)
        new = (old if value is None else value).to(device=device, dtype=dtype or old.dtype)
        if name in owner._buffers:
            owner._buffers[name] = new
        else:
            owner._parameters[name] = _parameter(new)
        on_weight(new)

    return set_tensor


def _conv_layout(x: torch.Tensor, weight: torch.Tensor, _backend: Any) -> torch.memory_format:
    """The layout that cuDNN gives a convolution's result (`cudnn_conv_suggest_memory_format` in PyTorch's
    aten/src/ATen/native/ConvUtils.h); a build without CUDA knows no cuDNN."""
    last = is_channels_last(x) or is_channels_last(weight)
    return torch.channels_last if last else torch.contiguous_format


def _parameter(tensor: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor, requires_grad=False)
