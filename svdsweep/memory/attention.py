"""Attention kernels: the switches that do something for SVD.

diffusers' own (slicing, `set_attention_backend`, `unet.fuse_qkv_projections`) change nothing there, so they are not
offered."""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from svdsweep.config import Memory
from svdsweep.memory.contract import inside

SDPA = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
PROCESSORS = {"eager": "AttnProcessor", "xformers": "XFormersAttnProcessor", "sage": "SageProcessor"}


def pin_kernel(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Pin one of PyTorch's kernels for the UNet alone: not every kernel takes the VAE's single head of 512."""
    kernel = SDPA[memory.attention]
    pipe.unet.forward = inside(functools.partial(sdpa_kernel, kernel), pipe.unet.forward, kernel=kernel)


def check_pinned(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the kernel is not used, else None: it is tried on a small input for each size of head in the UNet."""
    if getattr(pipe.unet.forward, "kernel", None) != SDPA[memory.attention]:
        return "the UNet's forward does not choose a kernel"
    heads = {m.inner_dim // m.heads for m in attention_layers(pipe.unet)}
    try:
        for size in heads:
            x = torch.zeros(1, 2, 16, size, dtype=pipe.unet.dtype, device=device)
            with sdpa_kernel(SDPA[memory.attention]):
                F.scaled_dot_product_attention(x, x, x)
    except RuntimeError as e:
        said = str(e).splitlines()[0]
        return f"PyTorch has no {memory.attention} kernel for {pipe.unet.dtype} here ({said})"
    return None


def replace_processors(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Set processors for what PyTorch's switch does not offer. Raises ImportError where a package is missing."""
    if memory.attention == "eager":
        from diffusers.models.attention_processor import AttnProcessor

        pipe.unet.set_attn_processor(AttnProcessor())
    elif memory.attention == "xformers":
        pipe.unet.enable_xformers_memory_efficient_attention()
    elif memory.attention == "sage":
        pipe.unet.set_attn_processor(sage_processor())


def check_processors(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the processors are others than asked for, else None."""
    wanted = PROCESSORS[memory.attention]
    kinds = {type(p).__name__ for p in pipe.unet.attn_processors.values()}
    return None if kinds == {wanted} else f"the processors are {', '.join(sorted(kinds))}"


def attention_layers(unet: torch.nn.Module) -> list[Any]:
    """The UNet's attention layers, but those that single_token_cross_attention has replaced."""
    from diffusers.models.attention_processor import Attention

    layers = [m for m in unet.modules() if isinstance(m, Attention)]
    return [m for m in layers if type(m.processor).__name__ != "SingleTokenProcessor"]


def is_plain(layer: Any) -> bool:
    """Whether an attention layer attends and nothing else: no norm, residual or factor of its own."""
    norms = {layer.spatial_norm, layer.group_norm, layer.norm_cross, layer.norm_q, layer.norm_k}
    return norms == {None} and not layer.residual_connection and layer.rescale_output_factor == 1


def sage_processor() -> Any:
    """SageAttention (int8 scores) behind diffusers' processor interface; half precision on a GPU only."""
    from sageattention import sageattn

    class SageProcessor:
        def __call__(
            self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
        ) -> Tensor:
            context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            flat = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
            q, k, v = (x.unflatten(-1, (attn.heads, -1)) for x in flat)
            out = sageattn(q, k, v, tensor_layout="NHD", is_causal=False).flatten(-2)
            projected: Tensor = attn.to_out[0](out)
            return projected

    return SageProcessor()
