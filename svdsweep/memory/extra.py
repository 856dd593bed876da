"""Strategies of other packages and of the user: DeepCache, and any function `pipe → None` by its import path."""

import importlib
from collections.abc import Callable
from typing import Any

import torch

from svdsweep.config import Memory


def call_extras(pipe: Any, memory: Memory, device: torch.device) -> None:
    """The user's functions in their order. Raises ImportError for a path that names none, and whatever they raise."""
    for path in memory.extra:
        function_at(path)(pipe)


def function_at(path: str) -> Callable[[Any], None]:
    """The function that `package.module.function` names. Raises ImportError."""
    module, _, name = path.rpartition(".")
    if not module:
        raise ImportError(f"memory.extra: `{path}` is no import path; write package.module.function.")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as e:
        raise ImportError(f"memory.extra: `{path}` cannot be imported ({e}).") from e
    if not callable(function):
        raise ImportError(f"memory.extra: `{path}` is not a function.")
    found: Callable[[Any], None] = function
    return found


def fingerprint(pipe: Any) -> int:
    """Changes when anything changes that a strategy could turn: modules, forwards, hooks, processors, weights, configs,
    and PyTorch's switches."""
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
            facts += [
                name,
                type(m).__name__,
                id(m.__dict__.get("forward")),
                len(m._forward_hooks),
                len(m._forward_pre_hooks),
            ]
            facts += [id(getattr(m, "processor", None)), getattr(m, "_chunk_size", None)]
            facts += [id(m.__dict__.get("_compiled_call_impl")), id(m.__dict__.get("_diffusers_hook"))]
            for p in m._parameters.values():
                if p is not None:
                    facts += [
                        id(p),
                        p.data_ptr() if p.device.type != "meta" else 0,
                        p.dtype,
                        p.device,
                        p._version,
                        p.stride(),
                    ]
    return hash(tuple(facts))
