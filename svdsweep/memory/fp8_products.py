"""Matrix products of the UNet's transformers in fp8: weights scaled once, inputs in each call, by their largest value.

GPUs from compute capability 8.9 on multiply fp8 at twice the rate of half precision, and the result has the input's
dtype. On an H200 SVD-XT gained nothing: the scale of an input is known only when all of it was read, so the compiler
cannot scale where the input is made. The layers are plain modules, which compilation, offloads and predictions treat
like any other."""

from typing import Any

import torch
from torch import Tensor

from svdsweep.config import Memory
from svdsweep.memory.transformer_parts import transformers_of

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
MULTIPLE = 16
"""Rows and columns of the weights that fp8 products ask for."""
LITTLE = ("time_pos_embed", "attn2")
"""Layers that see the frames' numbers or the one image token: a few rows, for which nothing is gained."""


class Fp8Linear(torch.nn.Module):
    """A linear layer that multiplies in fp8."""

    scale: Tensor

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        weight, scale = scaled(layer.weight.detach())
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out), in the dtype of `x`."""
        rows, scale = scaled(x.flatten(0, -2))
        out: Tensor = torch._scaled_mm(
            rows.contiguous(),  # the rows of a single frame come transposed
            self.weight.t(),
            scale_a=scale,
            scale_b=self.scale,
            bias=self.bias,
            out_dtype=x.dtype,
            use_fast_accum=True,
        )
        return out.view(*x.shape[:-1], -1)


def scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` as fp8 (e4m3), scaled so that its largest value is the largest of fp8, and the float32 factor that undoes
    it."""
    largest = torch.linalg.vector_norm(x, torch.inf, dtype=torch.float32)
    scale = largest.clamp_min(torch.finfo(torch.float32).tiny * LARGEST) / LARGEST
    # a quotient that rounding puts above the largest value, by 0.4 % at most, is rounded to it by the cast
    return (x / scale).to(FP8), scale


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Replace the linear layers of the UNet's transformers, but for those in `LITTLE`. Cannot be undone."""
    for transformer in transformers_of(pipe.unet):
        for path, layer in list(transformer.named_modules()):
            if not isinstance(layer, torch.nn.Linear) or set(LITTLE) & set(path.split(".")):
                continue
            if layer.in_features % MULTIPLE == 0 and layer.out_features % MULTIPLE == 0:
                owner, _, name = path.rpartition(".")
                setattr(transformer.get_submodule(owner), name, Fp8Linear(layer))


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why products are not computed in fp8, else None: one is tried on the device."""
    layers = [m for m in pipe.unet.modules() if isinstance(m, Fp8Linear)]
    if not layers:
        return "no linear layer of the UNet's transformers was replaced"
    layer = Fp8Linear(torch.nn.Linear(MULTIPLE, MULTIPLE, device=device, dtype=pipe.unet.dtype))
    try:
        layer(torch.ones(MULTIPLE, MULTIPLE, device=device, dtype=pipe.unet.dtype))
    except RuntimeError as e:
        return f"this device has no fp8 products of {pipe.unet.dtype} ({str(e).splitlines()[0]})"
    return None
