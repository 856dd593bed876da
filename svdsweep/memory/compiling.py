"""torch.compile in the forms that do something for SVD."""

from typing import Any

import torch

from svdsweep.config import Memory

REPEATED_BLOCKS = ["BasicTransformerBlock", "TemporalBasicTransformerBlock"]
"""What `compile_repeated_blocks` compiles; the UNet's own list is empty."""


def compile_unet(pipe: Any, memory: Memory, device: torch.device) -> None:
    """The UNet's forward as a whole, or its transformer blocks one by one. Compiles on the first run of a shape.

    The forward is compiled, not the module, so that hooks for timing and offloading stay outside of the graph."""
    options = _options(memory)
    if memory.compile == "whole":
        pipe.unet.forward = torch.compile(pipe.unet.forward, **options)
    else:
        pipe.unet._repeated_blocks = REPEATED_BLOCKS
        pipe.unet.compile_repeated_blocks(**options)


def compile_vae(pipe: Any, memory: Memory, device: torch.device) -> None:
    """The VAE's decoder; compiling the VAE itself compiles nothing, for `encode` and `decode` are not its forward.

    A tail chunk of another length is a second graph."""
    pipe.vae.decoder.forward = torch.compile(pipe.vae.decoder.forward, **_options(memory))


def compiles(memory: Memory) -> bool:
    """Whether the first run of a shape is spent on compiling."""
    return memory.compile != "none" or memory.compile_vae


def graphs() -> int:
    """Graphs that torch.compile has captured in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def check_graphs(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why nothing is compiled after a run, else None."""
    return None if graphs() else "not a single graph was captured"


def _options(memory: Memory) -> dict[str, Any]:
    mode = {} if memory.compile_mode == "default" else {"mode": memory.compile_mode}
    return {
        "backend": memory.compile_backend,
        "fullgraph": memory.compile_fullgraph,
        "dynamic": memory.compile_dynamic,
        **mode,
    }
