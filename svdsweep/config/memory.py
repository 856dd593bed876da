"""The memory strategy: every knob that trades VRAM against time or pictures, with its help and range."""

from dataclasses import dataclass
from typing import Any

from svdsweep.config.rules import Checked, knob
from svdsweep.config.schedulers import checked_sigmas

STRATEGIES_SCHEDULES = ("model", "ays")
"""Names of noise levels that a strategy may have; a list is allowed beside them."""


@dataclass(frozen=True)
class Memory(Checked):
    """A memory strategy: the knobs that trade VRAM against time or pictures, each a function of svdsweep/memory/."""

    name: str = knob("baseline", "The preset's name.", label=True)
    offload: str = knob(
        "none",
        "Where weights wait: on the device (none), or in host memory, fetched a component (model), a layer "
        "(sequential), or a group of layers (group_block, group_leaf) at a time.",
        words=("none", "model", "sequential", "group_block", "group_leaf"),
    )
    offload_stream: bool = knob(False, "Group offload: fetch the next group on a CUDA stream of its own.")
    offload_non_blocking: bool = knob(
        False, "Group offload: do not wait for a copy to finish before going on."
    )
    offload_record_stream: bool = knob(
        False,
        "Group offload with a stream: let the allocator track it instead of waiting; faster, more VRAM.",
    )
    offload_low_cpu_memory: bool = knob(
        False, "Group offload with a stream: pin a group when it is fetched instead of all of them for good."
    )
    offload_to_disk: bool = knob(
        False, "Group offload: weights wait on the disk, in a fresh folder for each worker."
    )
    offload_num_blocks: int = knob(
        1, "Group offload by blocks: UNet blocks fetched at once.", unit="blocks", low=1
    )
    forward_chunk_size: int | None = knob(
        None,
        "Feed-forward layers of the UNet run over this many frames at once; it must divide num_frames. "
        "At 25 frames 5 saves as much as 1 with far fewer kernels.",
        unit="frames",
        low=1,
    )
    transformer_parts: int | None = knob(
        None,
        "Transformer blocks of the UNet run in this many parts, spatial ones over frames, temporal ones over places of "
        "the picture: their attention and feed-forward layers hold so much less. Exact. At 25 frames 4 do what can "
        "be done.",
        unit="parts",
        low=2,
    )
    split_guidance: bool = knob(
        False,
        "The two halves of classifier-free guidance run one after the other: half the activations, same result.",
    )
    single_token_cross_attention: bool = knob(
        False,
        "Cross-attention to the one image token as the vector that it is: no query, key or softmax. Exact.",
    )
    fused_qkv: bool = knob(False, "One matrix product for query, key and value of each attention layer.")
    attention: str = knob(
        "default",
        "Attention kernel: PyTorch's choice (default), one of its kernels, eager, another package's, or for each shape "
        "the fastest of PyTorch's and of plain products, timed here before the runs that count (measured).",
        words=("default", "flash", "efficient", "cudnn", "math", "eager", "xformers", "sage", "measured"),
    )
    unet_weights: str = knob(
        "full",
        "How the UNet's weights are stored: in the model's dtype (full), as fp8 cast layer by layer (fp8), "
        "quantized by torchao (int8_weight_only, fp8_weight_only), or as fp8 that its transformers' products are made "
        "of (fp8_products; compute capability 8.9 or later).",
        words=("full", "fp8", "int8_weight_only", "fp8_weight_only", "fp8_products"),
    )
    vae_dtype: str = knob(
        "model",
        "Precision of the VAE; `model` is the model's.",
        words=("model", "float16", "bfloat16", "float32"),
    )
    decode: str = knob(
        "whole",
        "How frames are decoded: `decode_chunk_size` at once (whole), or layer by layer over all frames, one at a time "
        "(streamed): same frames as decode_chunk_size=all, which it needs, at the memory of one and decode_budget_gib.",
        words=("whole", "streamed"),
    )
    decode_budget_gib: float = knob(
        8.0,
        "Streamed decode: features of frames kept on the device; what is more waits in host memory (page-locked). "
        "25 frames of 576×1024 in half precision are 7.1 GiB.",
        unit="GiB",
        low=0,
    )
    vae_upcast: bool = knob(True, "Encode the image in float32 where the VAE is float16, as its config asks.")
    channels_last: bool = knob(False, "2-D convolutions of UNet and VAE in channels-last memory format.")
    temporal_conv2d: bool = knob(
        False,
        "Convolutions over time as 2-D ones over frames and places: other kernels, which know channels_last, also when "
        "compiled. Exact.",
    )
    norms_by_channel: bool = knob(
        False,
        "Group norms from the sums of each channel, in the networks that are compiled as a whole: other reductions, "
        "which read channels_last frames as they lie. Equal up to rounding.",
    )
    cudnn_benchmark: bool = knob(
        False,
        "Let cuDNN time its kernels at the first convolution of each shape and take the fastest: more VRAM for what it "
        "tries. Equal up to rounding.",
    )
    launch_ahead: bool = knob(
        False,
        "Ask whether guidance is on once a run, not twice a step: that answer comes from the GPU, which has to finish "
        "first and then stands idle until the next step is launched. Exact.",
    )
    compile: str = knob(
        "none",
        "torch.compile: the UNet as a whole, or its transformer blocks only (regional).",
        words=("none", "whole", "regional"),
    )
    compile_mode: str = knob(
        "default",
        "Mode of torch.compile.",
        words=("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    )
    compile_backend: str = knob(
        "inductor", "Compiler behind torch.compile.", words=("inductor", "aot_eager", "eager")
    )
    compile_fullgraph: bool = knob(True, "Refuse graph breaks.")
    compile_dynamic: bool | None = knob(
        None,
        "Compile once for any shape (true), or for each shape a graph of its own (false, and if not set).",
    )
    compile_vae: bool = knob(False, "Compile the VAE's decoder too.")
    guidance: bool = knob(
        True, "Classifier-free guidance as the job asks; false turns it off: half the work, other pictures."
    )
    denoise_steps: int | None = knob(
        None,
        "Denoise in this many steps instead of num_inference_steps; with step_cache: call the UNet at so many of them.",
        low=1,
    )
    sigmas: Any = knob(
        "model",
        "Noise levels of the steps: the model's own schedule, the published one of Align Your Steps (ays, log-linear "
        "between its 10 steps), or a list as in model.sigmas, such as `svdsweep tune` finds.",
        words=STRATEGIES_SCHEDULES,
    )
    deepcache_interval: int | None = knob(
        None,
        "DeepCache: run the whole UNet only every this many steps; faster, more VRAM, other pictures.",
        low=2,
    )
    deepcache_branch: int = knob(0, "DeepCache: the branch whose features are kept.", low=0)
    extra: list[str] = knob(
        [], "Functions of your own, by import path (`package.module.function`), called with the pipeline."
    )
    step_cache: str = knob(
        "none",
        "Step cache: call the UNet at denoise_steps of the run's steps (half, if not set), and at the others take "
        "denoised latents from the line in sigma through the last two calls (linear). Other pictures.",
        words=("none", "linear"),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigmas", checked_sigmas(self.sigmas, "memory.sigmas", STRATEGIES_SCHEDULES))
        super().__post_init__()


PER_RUN = ("guidance", "denoise_steps", "sigmas")
"""Knobs of `Memory` that are arguments of a run: they change nothing in the loaded pipeline."""


def keeps_unet_weights(memory: Memory) -> bool:
    """Whether the UNet's weights stay what they were loaded as, so that others can be written over them: not in fewer
    bits, not joined, not copied to where an offload layer by layer keeps them."""
    whole = memory.offload in ("none", "model") and memory.unet_weights == "full"
    return whole and not memory.fused_qkv and not memory.extra
