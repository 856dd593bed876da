"""The knobs in the order in which they must be applied, and the check of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory import (
    attention,
    chunking,
    compiling,
    convolution,
    extra,
    fp8_products,
    guidance,
    launching,
    measured,
    norms,
    offload,
    parted,
    precision,
    single_token,
    streamed,
    temporal,
)
from svdsweep.memory.effect import NoEffect

Apply = Callable[[Any, Memory, torch.device], None]
Check = Callable[[Any, Memory, torch.device], str | None]


@dataclass(frozen=True)
class Knob:
    """One strategy: when it is asked for, how it is applied, and how one sees that it took effect.

    `check` looks at the pipeline, either at once or, with `check_after_run`, when it has run."""

    name: str
    wanted: Callable[[Memory], bool]
    apply: Apply
    check: Check
    check_after_run: bool = False


def _changes_something(apply: Apply) -> Apply:
    """For functions that nobody knows: refuse one that leaves the pipeline as it was."""

    def watched(pipe: Any, memory: Memory, device: torch.device) -> None:
        before = extra.fingerprint(pipe)
        apply(pipe, memory, device)
        if extra.fingerprint(pipe) == before:
            raise NoEffect(
                f"memory.extra took no effect: {', '.join(memory.extra)} left the pipeline as it was."
            )

    return watched


KNOBS = (
    Knob("vae_dtype", lambda m: m.vae_dtype != "model", precision.set_vae_dtype, precision.check_vae_dtype),
    Knob("vae_upcast", lambda m: not m.vae_upcast, precision.no_upcast, precision.check_no_upcast),
    Knob(
        "attention",
        lambda m: m.attention in attention.PROCESSORS,
        attention.replace_processors,
        attention.check_processors,
    ),
    # these processors go onto all layers, so the one that spares cross-attention comes after them
    Knob(
        "single_token_cross_attention",
        lambda m: m.single_token_cross_attention,
        single_token.skip_query_and_key,
        single_token.check,
    ),
    Knob("fused_qkv", lambda m: m.fused_qkv, attention.fuse_qkv, attention.check_fused),
    Knob(
        "forward_chunk_size",
        lambda m: m.forward_chunk_size is not None,
        chunking.chunk_feed_forward,
        chunking.check_feed_forward,
    ),
    Knob("transformer_parts", lambda m: m.transformer_parts is not None, parted.part_blocks, parted.check),
    Knob("decode", lambda m: m.decode == "streamed", streamed.stream_decode, streamed.check),
    Knob("temporal_conv2d", lambda m: m.temporal_conv2d, temporal.flatten_places, temporal.check),
    Knob("norms_by_channel", lambda m: m.norms_by_channel, norms.sum_channels, norms.check),
    Knob("channels_last", lambda m: m.channels_last, precision.channels_last, precision.check_channels_last),
    Knob(
        "unet_weights",
        lambda m: m.unet_weights in precision.STORED,
        precision.store_unet,
        precision.check_unet,
    ),
    Knob(
        "unet_weights",
        lambda m: m.unet_weights == "fp8_products",
        fp8_products.replace_linear,
        fp8_products.check,
    ),
    Knob(
        "deepcache_interval",
        lambda m: m.deepcache_interval is not None,
        extra.cache_deep_features,
        extra.check_deepcache,
    ),
    Knob("extra", lambda m: bool(m.extra), _changes_something(extra.call_extras), lambda *_: None),
    # whole graphs do not trace offload hooks, so compilation comes before them; halves are two calls of one graph
    Knob("compile", lambda m: m.compile != "none", compiling.compile_unet, compiling.check_graphs, True),
    Knob("compile_vae", lambda m: m.compile_vae, compiling.compile_vae, compiling.check_graphs, True),
    Knob("attention", lambda m: m.attention in attention.SDPA, attention.pin_kernel, attention.check_pinned),
    Knob("attention", lambda m: m.attention == "measured", measured.choose_kernels, measured.check, True),
    Knob("cudnn_benchmark", lambda m: m.cudnn_benchmark, convolution.benchmark, convolution.check),
    Knob("launch_ahead", lambda m: m.launch_ahead, launching.launch_ahead, launching.check),
    Knob("split_guidance", lambda m: m.split_guidance, guidance.split, guidance.check),
    Knob("offload", lambda m: True, offload.place, offload.check),
)


def prepare(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Apply every knob that `memory` asks for to a fresh pipeline. Raises NoEffect, or what diffusers raises."""
    for knob in KNOBS:
        if knob.wanted(memory):
            knob.apply(pipe, memory, device)
            if not knob.check_after_run:
                _require(knob, pipe, memory, device)


def check_after_run(pipe: Any, memory: Memory, device: torch.device) -> None:
    """What shows only when the pipeline has run. Raises NoEffect."""
    for knob in KNOBS:
        if knob.check_after_run and knob.wanted(memory):
            _require(knob, pipe, memory, device)


def _require(knob: Knob, pipe: Any, memory: Memory, device: torch.device) -> None:
    if reason := knob.check(pipe, memory, device):
        raise NoEffect(f"memory.{knob.name} took no effect: {reason}.")
