"""The knobs in the order in which they must be applied, and the check of each."""

from typing import Any

import torch

from svdsweep.config import Memory
from svdsweep.memory import (
    attention,
    channels_last,
    compile,
    cudnn_benchmark,
    deepcache,
    extra,
    forward_chunk_size,
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
    vae_upcast,
)
from svdsweep.memory.contract import Knob, NoEffect

KNOBS = (
    Knob("vae_dtype", lambda m: m.vae_dtype != "model", vae_dtype.apply, vae_dtype.check),
    Knob("vae_upcast", lambda m: not m.vae_upcast, vae_upcast.apply, vae_upcast.check),
    # processors go onto all layers, so the one that spares cross-attention its product comes after them
    Knob(
        "attention",
        lambda m: m.attention in attention.PROCESSORS,
        attention.replace_processors,
        attention.check_processors,
    ),
    Knob(
        "single_token_cross_attention",
        lambda m: m.single_token_cross_attention,
        single_token_cross_attention.apply,
        single_token_cross_attention.check,
    ),
    Knob("fused_qkv", lambda m: m.fused_qkv, fused_qkv.apply, fused_qkv.check),
    Knob(
        "forward_chunk_size",
        lambda m: m.forward_chunk_size is not None,
        forward_chunk_size.apply,
        forward_chunk_size.check,
    ),
    Knob(
        "transformer_parts",
        lambda m: m.transformer_parts is not None,
        transformer_parts.apply,
        transformer_parts.check,
    ),
    Knob("decode", lambda m: m.decode == "streamed", streamed_decode.apply, streamed_decode.check),
    Knob("temporal_conv2d", lambda m: m.temporal_conv2d, temporal_conv2d.apply, temporal_conv2d.check),
    Knob("norms_by_channel", lambda m: m.norms_by_channel, norms_by_channel.apply, norms_by_channel.check),
    Knob("channels_last", lambda m: m.channels_last, channels_last.apply, channels_last.check),
    Knob(
        "unet_weights",
        lambda m: m.unet_weights in unet_weights.STORED,
        unet_weights.apply,
        unet_weights.check,
    ),
    Knob("unet_weights", lambda m: m.unet_weights == "fp8_products", fp8_products.apply, fp8_products.check),
    Knob("deepcache_interval", lambda m: m.deepcache_interval is not None, deepcache.apply, deepcache.check),
    Knob("extra", lambda m: bool(m.extra), extra.apply, extra.check),
    # whole graphs do not trace offload hooks, so compilation comes before them; halves are two calls of one graph
    Knob("compile", lambda m: m.compile != "none", compile.compile_unet, compile.check, True),
    Knob("compile_vae", lambda m: m.compile_vae, compile.compile_vae, compile.check, True),
    Knob("attention", lambda m: m.attention in attention.SDPA, attention.pin_kernel, attention.check_pinned),
    Knob(
        "attention",
        lambda m: m.attention == "measured",
        measured_attention.apply,
        measured_attention.check,
        True,
    ),
    Knob("cudnn_benchmark", lambda m: m.cudnn_benchmark, cudnn_benchmark.apply, cudnn_benchmark.check),
    Knob("launch_ahead", lambda m: m.launch_ahead, launch_ahead.apply, launch_ahead.check),
    Knob("split_guidance", lambda m: m.split_guidance, split_guidance.apply, split_guidance.check),
    Knob("offload", lambda m: True, offload.apply, offload.check),
)
"""The order in which knobs are applied; a comment stands where it matters to the knobs around it."""


def prepare(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Apply every knob that `memory` asks for to a fresh pipeline. Raises NoEffect, or what diffusers raises."""
    for knob in KNOBS:
        if knob.wanted(memory):
            knob.apply(pipe, memory, device)
            if not knob.check_after_run:
                _require(knob, pipe, memory, device)


def check_after_run(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Check the knobs whose effect shows only when the pipeline has run. Raises NoEffect."""
    for knob in KNOBS:
        if knob.check_after_run and knob.wanted(memory):
            _require(knob, pipe, memory, device)


def _require(knob: Knob, pipe: Any, memory: Memory, device: torch.device) -> None:
    if reason := knob.check(pipe, memory, device):
        raise NoEffect(f"memory.{knob.name} took no effect: {reason}.")
