"""Strategies of the user: any function that takes a pipeline and changes it, by its import path."""

import pkgutil
from collections.abc import Callable
from typing import Any, cast

import torch

from svdsweep.config import Memory
from svdsweep.memory.contract import NoEffect


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Call the user's functions in their order. Nobody else knows what they do, so a fingerprint tells whether they
    did anything.

    Raises ImportError for a path that names no function, NoEffect, and whatever the functions raise."""
    before = fingerprint(pipe)
    for path in memory.extra:
        function_at(path)(pipe)
    if fingerprint(pipe) == before:
        raise NoEffect(f"memory.extra took no effect: {', '.join(memory.extra)} left the pipeline as it was.")


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """None: `apply` has looked already, when it could still compare with the pipeline before."""
    return None


def function_at(path: str) -> Callable[[Any], None]:
    """The function that `package.module.function` names. Raises ImportError."""
    try:
        function = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as e:
        raise ImportError(f"memory.extra: `{path}` cannot be imported ({e}).") from e
    if not callable(function):
        raise ImportError(f"memory.extra: `{path}` is no function; write package.module.function.")
    return cast("Callable[[Any], None]", function)


def fingerprint(pipe: Any) -> int:
    """A hash that changes when anything changes that a strategy could turn: modules, forwards, hooks, processors,
    weights, configs, and PyTorch's switches."""
    facts: list[Any] = [
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
        type(pipe.scheduler).__name__,
        str(sorted(pipe.scheduler.config.items())),
    ]
    for network in (pipe.unet, pipe.vae, pipe.image_encoder):
        facts.append(str(network.config))
        for name, m in network.named_modules():
            facts += [name, type(m).__name__, len(m._forward_hooks), len(m._forward_pre_hooks)]
            facts += [id(vars(m).get(own)) for own in ("forward", "_compiled_call_impl", "_diffusers_hook")]
            facts += [id(getattr(m, "processor", None)), getattr(m, "_chunk_size", None)]
            for p in m._parameters.values():
                if p is not None:
                    place = p.data_ptr() if p.device.type != "meta" else 0
                    facts += [id(p), place, p.dtype, p.device, p._version, p.stride()]
    return hash(tuple(facts))
