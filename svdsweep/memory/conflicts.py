"""What cannot work, known before weights are loaded, each with its reason. No torch here: `plan` asks too."""

from collections.abc import Iterator

from svdsweep.config import Job, Memory
from svdsweep.memory import other_decoders
from svdsweep.memory.per_run import steps_of
from svdsweep.memory.step_conflicts import noise, step_cache

GROUP = ("group_block", "group_leaf")
STREAM_KNOBS = ("offload_record_stream", "offload_low_cpu_memory")
GROUP_KNOBS = ("offload_stream", *STREAM_KNOBS, "offload_non_blocking", "offload_to_disk")
CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
"""Modes of inductor that record CUDA graphs."""
KINDS = {
    "cpu": "a CPU",
    "cuda": "an NVIDIA GPU",
    "rocm": "an AMD GPU",
    "xpu": "an Intel GPU",
    "mps": "an Apple GPU",
}
"""The kinds of devices, in words."""
KERNELS_NEED = {
    "xformers": ("cuda",),
    "sage": ("cuda",),
    "cudnn": ("cuda",),
    "efficient": ("cuda", "rocm"),
    "flash": ("cpu", "cuda", "rocm", "xpu"),
}
"""The kinds of devices that an attention kernel is made for; the others are for all."""
LARGEST_ATTENTION_BATCH = 65535
"""CUDA's grid limit, which bounds the batch of the fused attention kernels: one row for each place of the picture."""


def why_not(job: Job, device_kind: str) -> str | None:
    """The reason why a job is impossible, or would measure nothing, on a device (its kind is one of `KINDS`); else
    None."""
    checks = [
        _grouped,
        _offload,
        _chunks,
        _guidance,
        _decode,
        _precision,
        _attention,
        _compilation,
        noise,
        _others,
        other_decoders.conflicts,
    ]
    return next((reason for check in checks for reason in check(job, device_kind)), None)


def needs_fresh_process(memory: Memory) -> bool:
    """Whether a process that ran under this strategy is spent: the strategy changed more than its pipeline (compiled
    code, pinned memory, cuDNN's choices, another package's patches, what a user's function did), and a later
    measurement would inherit that."""
    return bool(
        memory.compile != "none"
        or memory.compile_vae
        or memory.cudnn_benchmark
        or memory.extra
        or memory.offload_stream
        or memory.decode == "streamed"
        or memory.unet_weights != "full"
        or memory.attention in ("xformers", "sage")
        or memory.deepcache_interval
    )


def _grouped(job: Job, device_kind: str) -> Iterator[str]:
    m = job.memory
    for name in GROUP_KNOBS:
        if getattr(m, name) and m.offload not in GROUP:
            yield f"{name} changes nothing under offload={m.offload}: it belongs to group_block and group_leaf."
    if m.offload_num_blocks != 1 and m.offload != "group_block":
        yield f"offload_num_blocks changes nothing under offload={m.offload}: it belongs to group_block."
    if m.offload_num_blocks != 1 and m.offload_stream:
        yield "offload_num_blocks with offload_stream: diffusers streams one block at a time, whatever is asked."
    for name in STREAM_KNOBS:
        if getattr(m, name) and not m.offload_stream:
            yield f"{name} needs offload_stream=true."


def _offload(job: Job, device_kind: str) -> Iterator[str]:
    m = job.memory
    if m.offload_to_disk and m.unet_weights in ("int8_weight_only", "fp8_weight_only"):
        yield f"offload_to_disk cannot store weights that torchao quantized (unet_weights={m.unet_weights})."
    if m.offload == "sequential" and device_kind == "cpu":
        yield "offload=sequential needs a GPU: accelerate cannot stream layers onto a CPU."
    if m.offload_stream and device_kind in ("cpu", "mps"):
        needed = "needs a GPU" if device_kind == "cpu" else "needs another GPU"
        yield f"offload_stream {needed}: there are no CUDA streams on {KINDS[device_kind]}."


def _chunks(job: Job, device_kind: str) -> Iterator[str]:
    chunk = job.memory.forward_chunk_size
    if chunk is not None and job.num_frames % chunk:
        fitting = ", ".join(str(n) for n in range(1, job.num_frames + 1) if job.num_frames % n == 0)
        yield f"forward_chunk_size={chunk} does not divide num_frames={job.num_frames}; these do: {fitting}."
    if chunk is not None and job.memory.transformer_parts is not None:
        yield (
            "forward_chunk_size with transformer_parts: the parts of a block are parts of its feed-forward layer too; "
            "leave forward_chunk_size out."
        )


def _guidance(job: Job, device_kind: str) -> Iterator[str]:
    m = job.memory
    guided = m.guidance and job.max_guidance_scale > 1
    if m.split_guidance and not guided:
        yield "split_guidance changes nothing without guidance: there are no two halves to split."
    if not m.guidance and job.max_guidance_scale <= 1:
        yield f"guidance=false changes nothing: max_guidance_scale={job.max_guidance_scale:g} already turns it off."
    together = guided and not m.split_guidance
    places = (2 if together else 1) * job.height * job.width // 64
    if device_kind == "cuda" and places > LARGEST_ATTENTION_BATCH:
        remedy = " split_guidance=true halves that." if together else ""
        yield (
            f"{job.height}×{job.width} makes temporal attention a batch of {places}, above CUDA's limit of "
            f"{LARGEST_ATTENTION_BATCH}.{remedy}"
        )


def _decode(job: Job, device_kind: str) -> Iterator[str]:
    m = job.memory
    if job.decode_chunk_size == "auto" and device_kind == "cpu":
        yield "decode_chunk_size=auto needs a GPU: it follows the free VRAM."
    if m.decode == "whole":
        if m.decode_budget_gib != Memory().decode_budget_gib:
            yield "decode_budget_gib changes nothing under decode=whole: it belongs to decode=streamed."
        return
    if job.decode_chunk_size == "auto" or job.frames_per_decode < job.num_frames:
        yield (
            f"decode=streamed decodes all frames together, one at a time: decode_chunk_size={job.decode_chunk_size} "
            "would save nothing and only change the pictures; leave it at all."
        )
    if m.compile_vae:
        yield "compile_vae with decode=streamed: frames come and go between its layers, which breaks the graph."


def _precision(job: Job, device_kind: str) -> Iterator[str]:
    m, dtype = job.memory, job.model.dtype
    vae_dtype = dtype if m.vae_dtype == "model" else m.vae_dtype
    if m.vae_dtype == dtype:
        yield f"vae_dtype={m.vae_dtype} changes nothing: the model's dtype is that already."
    if not m.vae_upcast and vae_dtype != "float16":
        yield f"vae_upcast=false changes nothing: only a float16 VAE is upcast, this one is {vae_dtype}."
    if m.unet_weights == "fp8_products" and device_kind != "cuda":
        yield (
            "unet_weights=fp8_products needs an NVIDIA GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell)"
            f": {KINDS[device_kind]} has no fast products of fp8 in that format."
            + " unet_weights=fp8 stores them so."
            * (device_kind != "mps")
        )
    if m.unet_weights in ("fp8", "fp8_weight_only") and device_kind == "mps":
        yield f"unet_weights={m.unet_weights} needs another device: Metal knows no fp8; int8_weight_only is as small."
    if m.unet_weights == "fp8_products" and dtype == "float32":
        yield f"unet_weights=fp8_products needs float16 or bfloat16; the model's dtype is {dtype}."


def _attention(job: Job, device_kind: str) -> Iterator[str]:
    m, dtype = job.memory, job.model.dtype
    if m.fused_qkv and m.attention in ("eager", "xformers", "sage"):
        yield f"fused_qkv and attention={m.attention} both replace the attention processors: choose one."
    if device_kind not in KERNELS_NEED.get(m.attention, KINDS):
        makers = " or ".join(
            KINDS[kind].split(" ", 1)[1] for kind in KERNELS_NEED[m.attention] if kind != "cpu"
        )
        yield f"attention={m.attention} needs a GPU that has it ({makers}); this device is {KINDS[device_kind]}."
    if m.attention in ("flash", "sage", "cudnn") and dtype == "float32" and device_kind != "cpu":
        yield f"attention={m.attention} needs float16 or bfloat16; the model's dtype is {dtype}."


def _compilation(job: Job, device_kind: str) -> Iterator[str]:
    m = job.memory
    if m.norms_by_channel and m.compile != "whole" and not m.compile_vae:
        yield (
            "norms_by_channel without compile=whole or compile_vae: only a compiler sums without a float32 copy of "
            "every frame; leave it out, or compile."
        )
    if m.compile == "none" and not m.compile_vae:
        yield from _uncompiled(m)
        return
    if m.compile_mode != "default" and m.compile_backend != "inductor":
        yield f"compile_mode={m.compile_mode} is inductor's; compile_backend={m.compile_backend} knows no modes."
    if m.compile_mode == "reduce-overhead" and device_kind not in ("cuda", "rocm"):
        yield (
            "compile_mode=reduce-overhead needs a GPU of NVIDIA or AMD: it records CUDA graphs, and "
            f"{KINDS[device_kind]} has none."
        )
    if m.compile_mode in CUDA_GRAPHS:
        yield from _cuda_graphs(m)
    if m.compile != "none":
        yield from _compiled_unet(m)


def _uncompiled(m: Memory) -> Iterator[str]:
    for name in ("compile_mode", "compile_backend", "compile_fullgraph", "compile_dynamic"):
        if getattr(m, name) != getattr(Memory(), name):
            yield f"{name} changes nothing under compile=none."


def _compiled_unet(m: Memory) -> Iterator[str]:
    between_blocks = m.offload == "group_block" and m.compile == "regional"
    if m.compile_fullgraph and m.offload in GROUP and not between_blocks:
        yield (
            f"compile={m.compile} with offload={m.offload} breaks the graph at every hook: take offload=group_block "
            "with compile=regional, or compile_fullgraph=false."
        )
    if m.compile_fullgraph and m.offload == "sequential":
        yield f"compile={m.compile} with offload=sequential breaks the graph at every layer; take offload=model."
    if m.compile_fullgraph and m.unet_weights == "fp8":
        yield "unet_weights=fp8 casts in hooks, which break a full graph; set compile_fullgraph=false."
    if m.deepcache_interval:
        yield "deepcache_interval with compile: DeepCache reads the step's number in the middle of the graph."


def _cuda_graphs(m: Memory) -> Iterator[str]:
    without = "take compile_mode=default or max-autotune-no-cudagraphs."
    if m.offload != "none":
        yield f"compile_mode={m.compile_mode} with offload={m.offload}: CUDA graphs need weights that stay in place."
    if m.split_guidance:
        yield (
            f"compile_mode={m.compile_mode} with split_guidance: a CUDA graph answers in the same place at every call, "
            f"so the second half would overwrite the first; {without}"
        )
    if m.compile_vae:
        yield (
            f"compile_mode={m.compile_mode} with compile_vae: encoding casts the VAE's weights to float32 and back, "
            f"which moves them, so CUDA graphs of the decoder would be recorded anew at every run; {without}"
        )


def _others(job: Job, device_kind: str) -> Iterator[str]:
    m = job.memory
    if m.deepcache_interval and m.split_guidance:
        yield "deepcache_interval with split_guidance: both halves would share one cache, and mix."
    if m.deepcache_interval and m.deepcache_interval > steps_of(job):
        yield f"deepcache_interval={m.deepcache_interval} is more than the steps of the run: nothing would be reused."
    if m.deepcache_branch and not m.deepcache_interval:
        yield "deepcache_branch changes nothing without deepcache_interval."
    if m.denoise_steps == job.num_inference_steps and m.step_cache == "none":
        yield f"denoise_steps={m.denoise_steps} changes nothing: num_inference_steps is that already."
    yield from step_cache(job)
    if m.cudnn_benchmark and device_kind not in ("cuda", "rocm"):
        yield (
            "cudnn_benchmark needs a GPU of NVIDIA or AMD: cuDNN computes on NVIDIA's only (and MIOpen, which PyTorch "
            "switches by the same flag, on AMD's); cudnn_benchmark=false leaves it out."
        )
    if job.gpu.memory_limit_gib is not None and device_kind == "cpu":
        yield "gpu.memory_limit_gib needs a GPU: the CPU's allocator has no cap."
