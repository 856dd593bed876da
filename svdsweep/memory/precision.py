"""How weights are stored and in which precision the VAE works."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.effect import NoEffect

FP8 = torch.float8_e4m3fn
STORED = ("fp8", "int8_weight_only", "fp8_weight_only")
"""Weights that are small where they are kept, and computed with in the model's dtype."""


def store_unet(pipe: Any, memory: Memory, device: torch.device) -> None:
    """The UNet's weights as fp8, cast to the model's dtype layer by layer, or quantized by torchao. Cannot be undone.

    Raises ImportError where torchao is missing."""
    if memory.unet_weights == "fp8":
        pipe.unet.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=pipe.unet.dtype)
        return
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    config = {"int8_weight_only": Int8WeightOnlyConfig, "fp8_weight_only": Float8WeightOnlyConfig}
    quantize_(pipe.unet, config[memory.unet_weights]())


def check_unet(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the UNet's linear layers still hold their weights in full, else None."""
    weights = [m.weight for m in pipe.unet.modules() if isinstance(m, torch.nn.Linear)]
    if memory.unet_weights == "fp8":
        small = [w for w in weights if w.dtype == FP8]
    else:
        small = [
            w
            for w in weights
            if type(w).__module__.startswith("torchao") or type(w.data).__module__.startswith("torchao")
        ]
    return (
        None
        if len(small) > len(weights) / 2
        else f"only {len(small)} of {len(weights)} linear layers are small"
    )


def set_vae_dtype(pipe: Any, memory: Memory, device: torch.device) -> None:
    """The VAE in a precision of its own; latents are cast on their way into the decoder, for the pipeline does not."""
    pipe.vae.to(getattr(torch, memory.vae_dtype))
    pipe.vae.decoder.register_forward_pre_hook(_cast_to_own, with_kwargs=True)


def check_vae_dtype(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the VAE has another precision, else None."""
    return None if pipe.vae.dtype == getattr(torch, memory.vae_dtype) else f"the VAE is {pipe.vae.dtype}"


def no_upcast(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Encode the image in float16 too: half the memory of a stage that is never the peak, slightly other pictures.

    Raises NoEffect for a VAE that asks for no upcast."""
    if not pipe.vae.config.force_upcast:
        raise NoEffect("memory.vae_upcast=false took no effect: this model's VAE is never upcast.")
    pipe.vae.register_to_config(force_upcast=False)


def check_no_upcast(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the VAE is still cast for encoding, or never was, else None."""
    if pipe.vae.dtype != torch.float16:
        return f"a {pipe.vae.dtype} VAE is never upcast"
    return "the VAE's config still asks for it" if pipe.vae.config.force_upcast else None


def channels_last(pipe: Any, memory: Memory, device: torch.device) -> None:
    """2-D convolutions of UNet and VAE; a whole network cannot, for its 3-D ones refuse the format."""
    for layer in convolutions(pipe):
        layer.to(memory_format=torch.channels_last)


def check_channels_last(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why convolutions keep the other format, else None; of 1×1 ones both formats are the same."""
    wide = [m.weight for m in convolutions(pipe) if m.weight.shape[-1] > 1]
    plain = [w for w in wide if not w.is_contiguous(memory_format=torch.channels_last)]
    return f"{len(plain)} of {len(wide)} convolutions are not channels-last" if plain or not wide else None


def convolutions(pipe: Any) -> list[torch.nn.Conv2d]:
    """The 2-D convolutions of UNet and VAE."""
    networks = (pipe.unet, pipe.vae)
    return [m for network in networks for m in network.modules() if isinstance(m, torch.nn.Conv2d)]


def _cast_to_own(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    dtype = next(module.parameters()).dtype

    def cast(x: Any) -> Any:
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    return tuple(cast(x) for x in args), {name: cast(x) for name, x in kwargs.items()}
