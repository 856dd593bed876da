"""The UNet's weights in fewer bits than they are computed with."""

from typing import Any

import torch

from svdsweep.config import Memory

FP8 = torch.float8_e4m3fn
STORED = ("fp8", "int8_weight_only", "fp8_weight_only")
"""Weights that are small where they are kept, and computed with in the model's dtype."""


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Store the UNet's weights as fp8, cast to the model's dtype layer by layer, or quantized by torchao.

    Cannot be undone. Raises ImportError where torchao is missing."""
    if memory.unet_weights == "fp8":
        pipe.unet.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=pipe.unet.dtype)
        return
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    config = {"int8_weight_only": Int8WeightOnlyConfig, "fp8_weight_only": Float8WeightOnlyConfig}
    quantize_(pipe.unet, config[memory.unet_weights]())


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the UNet's linear layers still hold their weights in full, else None."""
    weights = [m.weight for m in pipe.unet.modules() if isinstance(m, torch.nn.Linear)]
    if memory.unet_weights == "fp8":
        small = [w for w in weights if w.dtype == FP8]
    else:
        small = [w for w in weights if "torchao" in (_package_of(w), _package_of(w.data))]
    if len(small) > len(weights) / 2:
        return None
    return f"only {len(small)} of {len(weights)} linear layers are small"


def _package_of(x: Any) -> str:
    return type(x).__module__.partition(".")[0]
