"""torch.compile in the forms that do something for SVD."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory.conflicts import CUDA_GRAPHS
from svdsweep.memory.contract import inside

REPEATED_BLOCKS = ["BasicTransformerBlock", "TemporalBasicTransformerBlock"]
"""The classes of blocks that `compile_repeated_blocks` compiles; the list of diffusers' UNet is empty."""
RECOMPILES = 64
"""Most graphs that a process may hold for one piece of code: each shape has its own, and a UNet's blocks share code."""


def compile_unet(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Compile the UNet's forward as a whole, or its transformer blocks one by one, at the first run of a shape.

    The forward is compiled, not the module, so that hooks for timing and offloading stay outside of the graph."""
    options = _options(memory)
    if memory.compile == "whole":
        pipe.unet.forward = torch.compile(pipe.unet.forward, **options)
    else:
        pipe.unet._repeated_blocks = REPEATED_BLOCKS
        pipe.unet.compile_repeated_blocks(**options)
    if memory.compile_mode in CUDA_GRAPHS:
        pipe.unet.forward = inside(a_step, pipe.unet.forward)


def compile_vae(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Compile the VAE's decoder, or the network in it that sees one frame; compiling the VAE would do nothing, for
    `encode` and `decode` are not its forward.

    A last chunk of another length is a second graph."""
    decoder = getattr(pipe.vae.decoder, "network", pipe.vae.decoder)
    decoder.forward = torch.compile(decoder.forward, **_options(memory))


def compiles(memory: Memory) -> bool:
    """Whether the first run of a shape is spent on compiling."""
    return memory.compile != "none" or memory.compile_vae


def graphs() -> int:
    """The number of graphs that torch.compile has captured in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why nothing was compiled in a run, or nothing recorded where CUDA graphs are asked for, else None."""
    if not graphs():
        return "not a single graph was captured"
    if memory.compile_mode in CUDA_GRAPHS and device.type == "cuda":
        from torch._inductor.cudagraph_trees import get_manager

        manager = get_manager(device.index, create_if_none_exists=False)
        return None if manager and any(manager.roots.values()) else "not a single CUDA graph was recorded"
    return None


@contextmanager
def a_step() -> Iterator[None]:
    """Tell CUDA graphs that a new step begins and that nobody reads the last one's results any more."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    yield


def _options(memory: Memory) -> dict[str, Any]:
    """The arguments of torch.compile. Shapes are static unless asked otherwise: left to itself, the second shape of a
    process is compiled for any size, by other kernels in another layout. The process is spent afterwards
    (`conflicts.needs_fresh_process`), so its limit may stay raised."""
    dynamo: Any = torch._dynamo.config
    # the second is PyTorch 2.6's name
    limit = "recompile_limit" if hasattr(dynamo, "recompile_limit") else "cache_size_limit"
    setattr(dynamo, limit, max(getattr(dynamo, limit), RECOMPILES))
    return {
        "backend": memory.compile_backend,
        "mode": memory.compile_mode,
        "fullgraph": memory.compile_fullgraph,
        "dynamic": bool(memory.compile_dynamic),
    }
