"""A precision of its own for the VAE."""

from typing import Any

import torch

from svdsweep.config import Memory


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Cast the VAE; latents are cast on their way into the decoder, for the pipeline does not."""
    pipe.vae.to(getattr(torch, memory.vae_dtype))
    pipe.vae.decoder.register_forward_pre_hook(_cast_to_own, with_kwargs=True)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the VAE has another precision, else None."""
    return None if pipe.vae.dtype == getattr(torch, memory.vae_dtype) else f"the VAE is {pipe.vae.dtype}"


def _cast_to_own(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    dtype = next(module.parameters()).dtype

    def cast(x: Any) -> Any:
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    return tuple(cast(x) for x in args), {name: cast(x) for name, x in kwargs.items()}
