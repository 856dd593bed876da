"""What cannot work is refused with a reason, without torch, before weights are loaded."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from svdsweep.config import Gpu, Job, Memory, Model
from svdsweep.memory.conflicts import needs_fresh_process, why_not

GUIDED = {"max_guidance_scale": 3.0}
TAESD = Model(decoder="taesd")
REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("cuda", {"forward_chunk_size": 5}, {}, "does not divide num_frames=14; these do: 1, 2, 7, 14"),
    ("cuda", {"forward_chunk_size": 2, "transformer_parts": 2}, {}, "leave forward_chunk_size out"),
    ("cuda", {"decode": "streamed"}, {"decode_chunk_size": 8}, "only change the pictures"),
    ("cuda", {"decode": "streamed"}, {"decode_chunk_size": "auto"}, "leave it at all"),
    ("cuda", {"decode": "streamed", "compile_vae": True}, {}, "breaks the graph"),
    ("cuda", {"decode": "streamed"}, {"model": TAESD}, "decode=streamed would change nothing"),
    ("cuda", {}, {"model": TAESD, "decode_chunk_size": 2}, "decode_chunk_size=2 would save nothing"),
    ("cuda", {"norms_by_channel": True, "compile_vae": True}, {"model": TAESD}, "has no group norms"),
    ("cuda", {"decode_budget_gib": 1.0}, {}, "belongs to decode=streamed"),
    ("cpu", {"offload": "sequential"}, {}, "needs a GPU"),
    ("cpu", {"offload": "group_leaf", "offload_stream": True}, {}, "no CUDA streams"),
    ("cuda", {"offload": "model", "offload_stream": True}, {}, "belongs to group_block and group_leaf"),
    ("cuda", {"offload": "group_leaf", "offload_record_stream": True}, {}, "needs offload_stream=true"),
    ("cuda", {"offload": "group_leaf", "offload_low_cpu_memory": True}, {}, "needs offload_stream=true"),
    ("cuda", {"offload_to_disk": True}, {}, "changes nothing under offload=none"),
    ("cuda", {"offload": "group_leaf", "offload_num_blocks": 2}, {}, "belongs to group_block"),
    ("cuda", {"offload": "group_block", "offload_stream": True, "offload_num_blocks": 2}, {}, "one block at"),
    *(
        ("cuda", {"offload": "group_leaf", "offload_to_disk": True, "unet_weights": weights}, {}, "torchao")
        for weights in ("int8_weight_only", "fp8_weight_only")
    ),
    ("cuda", {"split_guidance": True}, {"max_guidance_scale": 1.0}, "no two halves"),
    ("cuda", {"split_guidance": True, "guidance": False}, {}, "no two halves"),
    ("cuda", {"guidance": False}, {"max_guidance_scale": 1.0}, "already turns it off"),
    ("cuda", {}, {"height": 1920, "width": 2048}, "split_guidance=true halves that"),
    ("cuda", {}, {"height": 2048, "width": 2048, "max_guidance_scale": 1.0}, "a batch of 65536, above"),
    ("cpu", {}, {"decode_chunk_size": "auto"}, "free VRAM"),
    ("cuda", {"vae_dtype": "float32"}, {}, "the model's dtype is that already"),
    ("cpu", {"unet_weights": "fp8_products"}, {}, "a CPU has no fast products of fp8"),
    ("cuda", {"unet_weights": "fp8_products"}, {}, "needs float16 or bfloat16"),
    ("cuda", {"vae_upcast": False}, {}, "only a float16 VAE is upcast"),
    (
        "cuda",
        {"vae_upcast": False, "vae_dtype": "float32"},
        {"model": Model(dtype="float16")},
        "this one is float32",
    ),
    ("cuda", {"fused_qkv": True, "attention": "eager"}, {}, "choose one"),
    ("cpu", {"attention": "xformers"}, {}, "needs a GPU"),
    ("cpu", {"cudnn_benchmark": True}, {}, "NVIDIA's only"),
    ("cuda", {"attention": "flash"}, {}, "needs float16"),
    ("cuda", {"compile_mode": "max-autotune"}, {}, "changes nothing under compile=none"),
    (
        "cuda",
        {"compile": "whole", "compile_mode": "max-autotune", "compile_backend": "eager"},
        {},
        "knows no modes",
    ),
    *(
        ("cuda", {"compile": "whole", "compile_mode": mode, **more}, {}, reason)
        for mode in ("reduce-overhead", "max-autotune")
        for more, reason in (
            ({"offload": "model"}, "weights that stay in place"),
            ({"split_guidance": True}, "second half would overwrite the first"),
            ({"compile_vae": True}, "recorded anew at every run"),
        )
    ),
    ("cpu", {"compile": "whole", "compile_mode": "reduce-overhead"}, {}, "needs a GPU"),
    ("cuda", {"norms_by_channel": True}, {}, "only a compiler sums without a float32 copy"),
    ("cuda", {"norms_by_channel": True, "compile": "regional"}, {}, "leave it out, or compile"),
    ("cuda", {"compile": "whole", "offload": "group_leaf"}, {}, "offload=group_block with compile=regional"),
    ("cuda", {"compile": "regional", "offload": "group_leaf"}, {}, "breaks the graph"),
    ("cuda", {"compile": "whole", "offload": "sequential"}, {}, "take offload=model"),
    ("cuda", {"compile": "whole", "unet_weights": "fp8"}, {}, "compile_fullgraph=false"),
    ("cuda", {"compile": "whole", "deepcache_interval": 2}, {}, "DeepCache"),
    ("cuda", {"split_guidance": True, "deepcache_interval": 2}, {}, "share one cache"),
    ("cuda", {"deepcache_interval": 20}, {}, "nothing would be reused"),
    ("cuda", {"deepcache_interval": 5, "denoise_steps": 4}, {}, "nothing would be reused"),
    ("cuda", {"deepcache_branch": 1}, {}, "without deepcache_interval"),
    ("cuda", {"denoise_steps": 10}, {}, "num_inference_steps is that already"),
    ("cuda", {"sigmas": "ays"}, {"model": Model(sigmas="ays")}, "model.sigmas is that already"),
    ("cuda", {"denoise_steps": 4}, {"model": Model(sigmas=[9, 3, 0])}, "[9,3,0] is a list of 2 steps"),
    ("cpu", {}, {"model": Model(sigmas=[9, 3, 0], final_sigma=0.1)}, "ends with a level of its own"),
    ("cpu", {"denoise_steps": 2, "sigmas": [9, 3, 0]}, {}, "memory.sigmas=[9,3,0] is a list of 2 steps"),
    ("cpu", {}, {"model": Model(final_sigma=800)}, "is not below"),
    ("cpu", {}, {"model": Model(sigmas="ays", final_sigma=0.034)}, "not below 0.034"),
    (
        "cpu",
        {},
        {"model": Model(scheduler="animatelcm"), "num_inference_steps": 41},
        "distilled at 40 noise levels",
    ),
    ("cuda", {"deepcache_interval": 2}, {"model": Model(scheduler="heun")}, "calls the UNet twice a step"),
    ("cuda", {"step_cache": "linear", "denoise_steps": 10}, {}, "ask for fewer"),
    ("cuda", {"step_cache": "linear", "denoise_steps": 1}, {}, "at least 2 calls"),
    ("cuda", {"step_cache": "linear", "deepcache_interval": 2}, {}, "choose one"),
    ("cuda", {"step_cache": "linear"}, {"model": Model(scheduler="heun")}, "between Euler's steps only"),
    ("cpu", {}, {"gpu": Gpu(memory_limit_gib=8)}, "no cap"),
    ("mps", {"offload": "group_leaf", "offload_stream": True}, {}, "no CUDA streams on an Apple GPU"),
    ("mps", {"unet_weights": "fp8"}, {}, "Metal knows no fp8"),
    ("mps", {"attention": "flash"}, {}, "this device is an Apple GPU"),
    ("xpu", {"attention": "efficient"}, {}, "(NVIDIA GPU or AMD GPU); this device is an Intel GPU"),
    *(
        ("rocm", {"attention": name}, {}, "this device is an AMD GPU")
        for name in ("xformers", "sage", "cudnn")
    ),
    *((kind, {"unet_weights": "fp8_products"}, {}, "needs an NVIDIA GPU") for kind in ("rocm", "xpu", "mps")),
    *((kind, {"cudnn_benchmark": True}, {}, "MIOpen") for kind in ("xpu", "mps")),
    *(
        (kind, {"compile": "whole", "compile_mode": "reduce-overhead"}, {}, "records CUDA graphs")
        for kind in ("xpu", "mps")
    ),
]
ALLOWED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *(
        (kind, {"offload": "sequential"}, {"decode_chunk_size": "auto", "gpu": Gpu(memory_limit_gib=8)})
        for kind in ("cuda", "rocm", "xpu", "mps")
    ),
    ("xpu", {"offload": "group_leaf", "offload_stream": True, "unet_weights": "fp8"}, {}),
    ("rocm", {"cudnn_benchmark": True, "compile": "whole", "compile_mode": "reduce-overhead"}, {}),
    ("cpu", {}, {}),
    ("cuda", {"offload": "sequential", "split_guidance": True, "forward_chunk_size": 1}, {}),
    ("cuda", {"compile": "regional", "offload": "group_block"}, {}),
    ("cuda", {"offload": "group_block", "offload_num_blocks": 2}, {}),
    ("cuda", {"offload": "group_block", "offload_stream": True}, {}),
    ("cuda", {}, {"height": 2040, "width": 2056, "max_guidance_scale": 1.0}),  # a batch of 65535
    ("cuda", {"vae_upcast": False, "vae_dtype": "float16"}, {}),
    ("cpu", {"attention": "flash"}, {}),
    ("cpu", {"compile": "whole", "compile_mode": "max-autotune"}, {}),
    ("cuda", {"unet_weights": "fp8_products"}, {"model": Model(dtype="bfloat16")}),
    ("cuda", {"compile_vae": True, "compile_mode": "max-autotune-no-cudagraphs"}, {}),
    ("cuda", {"deepcache_interval": 10}, {}),
    (
        "cuda",
        {"step_cache": "linear", "denoise_steps": 9, "split_guidance": True, "offload": "sequential"},
        {},
    ),
    ("cuda", {"step_cache": "linear", "compile": "whole", "compile_mode": "reduce-overhead"}, {}),
    ("cuda", {"deepcache_interval": 12, "denoise_steps": 20}, {}),
    ("cuda", {"decode": "streamed", "decode_budget_gib": 0.0, "compile": "whole", "offload": "model"}, {}),
    ("cpu", {"decode": "streamed"}, {"decode_chunk_size": 14}),
    ("cuda", {"compile": "whole", "offload": "model"}, {}),
    ("cuda", {"compile": "whole", "offload": "group_leaf", "compile_fullgraph": False}, {}),
    ("cuda", {"split_guidance": True}, {"height": 1920, "width": 2048}),
    ("cuda", {"fused_qkv": True, "unet_weights": "int8_weight_only"}, {}),
    ("cuda", {"cudnn_benchmark": True, "temporal_conv2d": True, "decode": "streamed"}, {}),
    ("cuda", {"unet_weights": "fp8_products", "compile": "whole"}, {"model": Model(dtype="float16")}),
    ("cpu", {"attention": "measured", "fused_qkv": True, "compile": "whole"}, {}),
    ("cuda", {}, {"decode_chunk_size": "auto", "gpu": Gpu(memory_limit_gib=8)}),
    ("cuda", {"attention": "flash", "vae_upcast": False}, {"model": Model(dtype="float16")}),
]


@pytest.mark.parametrize(("kind", "memory", "rest", "reason"), REFUSED)
def test_refused_with_its_reason(kind: str, memory: Any, rest: Any, reason: str) -> None:
    assert reason in (why_not(replace(Job(), memory=Memory(**memory), **rest), kind) or "")


@pytest.mark.parametrize(("kind", "memory", "rest"), ALLOWED)
def test_allowed(kind: str, memory: Any, rest: Any) -> None:
    assert why_not(replace(Job(), memory=Memory(**memory), **rest), kind) is None


@pytest.mark.parametrize(
    "memory",
    [
        Memory(compile="whole"),
        Memory(extra=["a.b"]),
        Memory(unet_weights="fp8"),
        Memory(decode="streamed"),
        Memory(cudnn_benchmark=True),
        Memory(offload="group_leaf", offload_stream=True),
        Memory(compile_vae=True),
        Memory(attention="sage"),
        Memory(deepcache_interval=2),
    ],
)
def test_what_cannot_be_undone_wants_a_fresh_process(memory: Memory) -> None:
    assert needs_fresh_process(memory)


@pytest.mark.parametrize("memory", [Memory(), Memory(offload="model"), Memory(split_guidance=True)])
def test_what_ends_with_its_pipeline_does_not(memory: Memory) -> None:
    assert not needs_fresh_process(memory)


def test_no_torch_is_imported_for_it() -> None:
    code = "import sys, svdsweep.memory.conflicts; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
