"""A float16 VAE that encodes in float16 too."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import NoEffect


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Switch the upcast off: half the memory of a stage that is never the peak, slightly other pictures.

    Raises NoEffect for a VAE that asks for no upcast."""
    if not pipe.vae.config.force_upcast:
        raise NoEffect("memory.vae_upcast=false took no effect: this model's VAE is never upcast.")
    pipe.vae.register_to_config(force_upcast=False)


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the VAE is still cast for encoding, or never was, else None."""
    if pipe.vae.dtype != torch.float16:
        return f"a {pipe.vae.dtype} VAE is never upcast"
    return "the VAE's config still asks for it" if pipe.vae.config.force_upcast else None
