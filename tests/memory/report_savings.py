"""python tests/memory/report_savings.py
What split_guidance and single_token_cross_attention save at the full size of SVD-XT, counted without a GPU: FLOPs on
meta tensors, and live bytes on fake CUDA tensors whose attention takes the fused kernel that CUDA would take."""

import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import torch.nn.functional as F
from diffusers import UNetSpatioTemporalConditionModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from svdsweep.config import Memory
from svdsweep.memory.apply import KNOBS
from svdsweep.models.architectures import svd

MIB = 2**20
ALLOCATION = 512
"""Bytes to which CUDA's allocator rounds."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cost:
    """Of one UNet forward under guidance; `activations_mib` is the peak of live tensors beyond the weights."""

    tflop: float
    activations_mib: float
    ops: int


class FusedAttention(TorchFunctionMode):
    """Sends attention to the flash kernel, as CUDA does for half precision; fake tensors alone take the slow one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args[:3], 0.0, False, False)[0]
        return func(*args, **(kwargs or {}))


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that are alive on the fake device, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.live = self.peak = self.ops = 0

    def see(self, tensor: Any) -> None:
        """Count a tensor's storage, once, until it dies."""
        if not isinstance(tensor, torch.Tensor) or tensor.device.type != "cuda":
            return
        storage = tensor.untyped_storage()
        if storage._cdata in self.sizes:
            return
        size = -(-storage.nbytes() // ALLOCATION) * ALLOCATION
        self.sizes[storage._cdata] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, place: int) -> None:
        self.live -= self.sizes.pop(place, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.ops += 1
        for tensor in out if isinstance(out, tuple | list) else (out,):
            self.see(tensor)
        return out


@contextmanager
def fake_cuda() -> Iterator[LiveBytes]:
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), FusedAttention(), LiveBytes() as bytes_:
        yield bytes_


def full_size_unet() -> UNetSpatioTemporalConditionModel:
    with torch.device("meta"):
        unet = UNetSpatioTemporalConditionModel(**svd(25).unet)
    return unet.to(device="meta", dtype=torch.float16).eval().requires_grad_(False)


def onto(network: torch.nn.Module, device: str) -> None:
    """Empty tensors on `device` in place of a network's meta ones."""
    for module in network.modules():
        for name, p in module._parameters.items():
            if p is not None:
                empty = torch.empty(p.shape, dtype=p.dtype, device=device)
                module._parameters[name] = torch.nn.Parameter(empty, requires_grad=False)


def forward(unet: Any, frames: int, device: str) -> None:
    half = {"dtype": torch.float16, "device": device}
    unet(
        torch.empty(2, frames, 8, 72, 128, **half),
        torch.empty((), device=device),
        torch.empty(2, 1, 1024, **half),
        torch.empty(2, 3, **half),
        return_dict=False,
    )


def cost(memory: Memory, frames: int = 25) -> Cost:
    """Of one forward of the full-size UNet, 576×1024, float16, guided, under the knobs of the UNet alone."""
    applied = [k for k in KNOBS if k.wanted(memory) and k.name != "offload"]

    def prepared() -> Any:
        pipe = type("Pipe", (), {"unet": full_size_unet()})()
        for knob in applied:
            knob.apply(pipe, memory, CPU)
            assert knob.check(pipe, memory, CPU) is None
        return pipe.unet

    unet = prepared()
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        forward(unet, frames, "meta")
    unet = prepared()
    with fake_cuda() as counted:
        onto(unet, "cuda")
        for p in unet.parameters():
            counted.see(p)
        weights = counted.live
        forward(unet, frames, "cuda")
    return Cost(flops.get_total_flops() / 1e12, (counted.peak - weights) / MIB, counted.ops)


STRATEGIES = {
    "plain": Memory(),
    "split_guidance": Memory(split_guidance=True),
    "single_token": Memory(single_token_cross_attention=True),
    "both": Memory(split_guidance=True, single_token_cross_attention=True),
    "chunking 5": Memory(forward_chunk_size=5),
    "all three": Memory(split_guidance=True, single_token_cross_attention=True, forward_chunk_size=5),
}


def main() -> None:
    diffusers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
    sys.stdout.write(
        "| UNet of SVD-XT, 25 frames, guided | TFLOP | activations MiB | kernels |\n|---|---|---|---|\n"
    )
    for name, memory in STRATEGIES.items():
        c = cost(memory)
        sys.stdout.write(f"| {name} | {c.tflop:.2f} | {c.activations_mib:.0f} | {c.ops} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
