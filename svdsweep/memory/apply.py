"""The knobs in the order in which they must be applied, and the check of each."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory import (
    attention,
    channels_last,
    chunk_sizes,
    compile,
    cudnn_benchmark,
    deepcache,
    extra,
    fp8_products,
    fused_qkv,
    launch_ahead,
    measured_attention,
    norms_by_channel,
    offload,
    single_token_cross_attention,
    split_guidance,
    streamed_decode,
    temporal_conv2d,
    transformer_parts,
    unet_weights,
    vae_dtype,
)
from svdsweep.memory.contract import Apply, Knob, NoEffect


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
    Knob(
        "vae_dtype",
        lambda m: m.vae_dtype != "model",
        vae_dtype.set_vae_dtype,
        vae_dtype.check_vae_dtype,
    ),
    Knob("vae_upcast", lambda m: not m.vae_upcast, vae_dtype.no_upcast, vae_dtype.check_no_upcast),
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
        single_token_cross_attention.skip_query_and_key,
        single_token_cross_attention.check,
    ),
    Knob("fused_qkv", lambda m: m.fused_qkv, fused_qkv.fuse_qkv, fused_qkv.check_fused),
    Knob(
        "forward_chunk_size",
        lambda m: m.forward_chunk_size is not None,
        chunk_sizes.chunk_feed_forward,
        chunk_sizes.check_feed_forward,
    ),
    Knob(
        "transformer_parts",
        lambda m: m.transformer_parts is not None,
        transformer_parts.part_blocks,
        transformer_parts.check,
    ),
    Knob("decode", lambda m: m.decode == "streamed", streamed_decode.stream_decode, streamed_decode.check),
    Knob(
        "temporal_conv2d", lambda m: m.temporal_conv2d, temporal_conv2d.flatten_places, temporal_conv2d.check
    ),
    Knob(
        "norms_by_channel",
        lambda m: m.norms_by_channel,
        norms_by_channel.sum_channels,
        norms_by_channel.check,
    ),
    Knob(
        "channels_last",
        lambda m: m.channels_last,
        channels_last.channels_last,
        channels_last.check_channels_last,
    ),
    Knob(
        "unet_weights",
        lambda m: m.unet_weights in unet_weights.STORED,
        unet_weights.store_unet,
        unet_weights.check_unet,
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
        deepcache.cache_deep_features,
        deepcache.check_deepcache,
    ),
    Knob("extra", lambda m: bool(m.extra), _changes_something(extra.call_extras), lambda *_: None),
    # whole graphs do not trace offload hooks, so compilation comes before them; halves are two calls of one graph
    Knob("compile", lambda m: m.compile != "none", compile.compile_unet, compile.check_graphs, True),
    Knob("compile_vae", lambda m: m.compile_vae, compile.compile_vae, compile.check_graphs, True),
    Knob("attention", lambda m: m.attention in attention.SDPA, attention.pin_kernel, attention.check_pinned),
    Knob(
        "attention",
        lambda m: m.attention == "measured",
        measured_attention.choose_kernels,
        measured_attention.check,
        True,
    ),
    Knob("cudnn_benchmark", lambda m: m.cudnn_benchmark, cudnn_benchmark.benchmark, cudnn_benchmark.check),
    Knob("launch_ahead", lambda m: m.launch_ahead, launch_ahead.launch_ahead, launch_ahead.check),
    Knob("split_guidance", lambda m: m.split_guidance, split_guidance.split, split_guidance.check),
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
