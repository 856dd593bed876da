"""One matrix product for query, key and value of each attention layer."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.attention import attention_layers
from svdsweep.memory.contract import unless_all


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Compute query, key and value of each attention layer (key and value of cross-attention) by one product; the
    weights that were joined are dropped, which diffusers does not do."""
    from diffusers.models.attention_processor import FusedAttnProcessor2_0

    for layer in attention_layers(pipe.unet):
        layer.fuse_projections(fuse=True)
        layer.set_processor(FusedAttnProcessor2_0())
        joined = ("to_k", "to_v") if layer.is_cross_attention else ("to_q", "to_k", "to_v")
        for name in joined:
            setattr(layer, name, None)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why projections are not fused, else None."""
    layers = attention_layers(pipe.unet)
    plain = [m for m in layers if m.to_k is not None or not getattr(m, "fused_projections", False)]
    return unless_all(layers, plain, "layers are not fused")
