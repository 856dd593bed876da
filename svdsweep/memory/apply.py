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
    step_cache,
    streamed_decode,
    temporal_conv2d,
    transformer_parts,
    unet_weights,
    vae_dtype,
    vae_upcast,
)
from svdsweep.memory.conflicts import GROUP
from svdsweep.memory.contract import Knob, NoEffect

KNOBS = (
    Knob("vae_dtype", vae_dtype.apply, vae_dtype.check),
    Knob("vae_upcast", vae_upcast.apply, vae_upcast.check),
    # processors go onto all layers, so the one that spares cross-attention its product comes after them
    Knob("attention", attention.replace_processors, attention.check_processors, attention.PROCESSORS),
    Knob(
        "single_token_cross_attention", single_token_cross_attention.apply, single_token_cross_attention.check
    ),
    Knob("fused_qkv", fused_qkv.apply, fused_qkv.check),
    Knob("forward_chunk_size", forward_chunk_size.apply, forward_chunk_size.check),
    Knob("transformer_parts", transformer_parts.apply, transformer_parts.check),
    Knob("decode", streamed_decode.apply, streamed_decode.check),
    Knob("temporal_conv2d", temporal_conv2d.apply, temporal_conv2d.check),
    Knob("norms_by_channel", norms_by_channel.apply, norms_by_channel.check),
    Knob("channels_last", channels_last.apply, channels_last.check),
    Knob("unet_weights", unet_weights.apply, unet_weights.check, unet_weights.STORED),
    Knob("unet_weights", fp8_products.apply, fp8_products.check, ("fp8_products",)),
    Knob("deepcache_interval", deepcache.apply, deepcache.check),
    Knob("extra", extra.apply, extra.check),
    # whole graphs do not trace offload hooks, so compilation comes before them; halves are two calls of one graph
    Knob("compile", compile.compile_unet, compile.check, check_after_run=True),
    Knob("compile_vae", compile.compile_vae, compile.check, check_after_run=True),
    Knob("attention", attention.pin_kernel, attention.check_pinned, attention.SDPA),
    Knob(
        "attention", measured_attention.apply, measured_attention.check, ("measured",), check_after_run=True
    ),
    Knob("cudnn_benchmark", cudnn_benchmark.apply, cudnn_benchmark.check),
    Knob("launch_ahead", launch_ahead.apply, launch_ahead.check),
    Knob("split_guidance", split_guidance.apply, split_guidance.check),
    # both halves of guidance are kept; offload's hooks see a call at every step
    Knob("step_cache", step_cache.apply, step_cache.check, check_after_run=True),
    Knob("offload", offload.apply, offload.check, ("none", "model", "sequential", *GROUP)),
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
