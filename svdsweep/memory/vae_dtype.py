"""Precision of the VAE, and whether its encoder runs in float32."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import NoEffect


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


def _cast_to_own(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    dtype = next(module.parameters()).dtype

    def cast(x: Any) -> Any:
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    return tuple(cast(x) for x in args), {name: cast(x) for name, x in kwargs.items()}
