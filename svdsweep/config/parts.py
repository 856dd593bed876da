"""The parts of a job: model, image, memory strategy, how it is measured and judged. Each field with its help."""

from dataclasses import dataclass
from typing import Any

from svdsweep.config.adapters import NONE
from svdsweep.config.rules import Checked, knob
from svdsweep.config.schedulers import SCHEDULERS, SCHEDULES, check_scheduler, checked_sigmas

OWN = "own"
"""A network that is the model's own."""


@dataclass(frozen=True)
class Model(Checked):
    """Which weights, from where, in which precision."""

    name: str = knob("tiny", "The preset's name.", label=True)
    source: str = knob(
        "embedded",
        "Hub id, local folder in diffusers' layout, single file of Stability's (svd_xt.safetensors), `comfyui:svd_xt` "
        "(in $COMFYUI_PATH), or `embedded` (the tiny model).",
    )
    revision: str | None = knob(None, "Hub branch, tag or commit; resolved to a commit before anything runs.")
    variant: str | None = knob(
        None, "Weight files' variant, as in diffusers: `fp16` reads *.fp16.safetensors."
    )
    dtype: str = knob("float32", "Precision of the weights.", words=("float16", "bfloat16", "float32"))
    weights: str = knob(
        "pretrained",
        "`random` builds the architecture at full size without a file: true VRAM and latency, meaningless pictures.",
        words=("pretrained", "random"),
    )
    architecture: str = knob(
        "tiny",
        "Shape of the networks for `weights=random` and for single files.",
        words=("tiny", "svd", "svd_xt"),
    )
    max_num_frames: int = knob(
        14, "Frames the model was trained for; more is allowed, with a warning.", low=1
    )
    unet: str = knob(
        OWN,
        "Another UNet than that of model.source (`own`): a folder in diffusers' layout, a trainer's checkpoint-1000, "
        "a safetensors file, a hub id, or a file there (`owner/name:file.safetensors`).",
    )
    unet_revision: str | None = knob(
        None, "Hub branch, tag or commit of model.unet; resolved before anything runs."
    )
    lora: str = knob(
        NONE,
        "LoRA added to the UNet's weights: safetensors, a trainer's folder, or a file on the hub (as model.unet). "
        "`a.safetensors:0.5+b.safetensors` joins two, the first at half; commas sweep; `none`.",
    )
    lora_scale: float = knob(1.0, "How much of model.lora is added; 0 is the model without.")
    lora_revision: str | None = knob(
        None, "Hub branch, tag or commit of model.lora; resolved before anything runs."
    )
    scheduler: str = knob(
        "euler",
        "How a step goes from one noise level to the next. `heun` and `dpm2` call the UNet twice a step; `animatelcm` "
        "is for the weights of AnimateLCM-SVD.",
        words=SCHEDULERS,
    )
    sigmas: Any = knob(
        "model",
        "Noise levels of the steps: the model's own, karras or exponential between its highest and lowest, those of "
        "Align Your Steps (ays), or a list that ends where the last step ends: `[700,50,5,0.5,0]` is four steps, "
        "whatever num_inference_steps says.",
        words=SCHEDULES,
    )
    final_sigma: float = knob(
        0.0,
        "Noise level at which the last step ends; above 0, the levels fall to it and some noise is left.",
        low=0.0,
    )
    decoder: str = knob(
        "temporal",
        "What makes frames of latents: SVD's own decoder (temporal), that of Stable Diffusion's VAE (image), or the "
        "tiny ones for previews (taesd; taesdv, which remembers a frame). All but the first see one frame at a time.",
        words=("temporal", "image", "taesd", "taesdv"),
    )
    decoder_source: str = knob(
        "",
        "Weights of another decoder: hub id, folder in diffusers' layout, or single safetensors file. Empty: the "
        "published ones (stabilityai/sd-vae-ft-mse, madebyollin/taesd), for the tiny model its own.",
    )
    decoder_revision: str | None = knob(
        None, "Hub branch, tag or commit of decoder_source; resolved before anything runs."
    )

    def __post_init__(self) -> None:
        check_scheduler(self.scheduler)
        object.__setattr__(self, "sigmas", checked_sigmas(self.sigmas))  # one key for 700 and 700.0
        super().__post_init__()


MODEL_PER_RUN = ("scheduler", "sigmas", "final_sigma")
"""Settings of `Model` that are no part of the loaded pipeline: each run brings them along."""


@dataclass(frozen=True)
class Image(Checked):
    """The conditioning image, resized (Lanczos) to the video's size."""

    name: str = knob("", "The picture's name in tables.", label=True)
    path: str = knob("", "A file, or the name of a packaged picture.", label=True)
    sha256: str = knob("", "Hash of the file's content; filled in before anything runs.")
    fit: str = knob(
        "crop",
        "A picture of another shape than the video's: cut about its centre, whole between black bars, or distorted.",
        words=("crop", "pad", "stretch"),
    )


@dataclass(frozen=True)
class Measure(Checked):
    """How often a job runs, and what is shared between jobs."""

    name: str = knob("quick", "The preset's name.", label=True)
    warmup: int = knob(
        0,
        "Untimed runs after loading, before the first timed one of a pipeline and shape.",
        unit="runs",
        low=0,
    )
    until_steady: bool = knob(
        False,
        "Go on warming up until two runs in a row differ by less than 5 %, at most `warmup_limit` runs.",
    )
    warmup_limit: int = knob(10, "Most untimed runs of a pipeline and shape.", unit="runs", low=1)
    repeats: int = knob(1, "Timed runs of a job; every raw value is kept.", unit="runs", low=1)
    within: float | None = knob(
        None,
        "Repeat until the 95 % interval of total_s is within this share of its mean, at most `repeats_limit` runs.",
        unit="of the mean",
        low=0.001,
        high=1.0,
    )
    repeats_limit: int = knob(
        10, "Most timed runs of a job (and round) when `within` is set.", unit="runs", low=1
    )
    rounds: int = knob(
        1,
        "Go over all strategies so often, in another order each time, where loading and warming up again takes no "
        "longer than measuring.",
        unit="rounds",
        low=1,
    )
    share_latents: bool = knob(
        True,
        "Jobs that differ only in how they are decoded (decode_chunk_size, model.decoder) share one denoise; their "
        "rows say so (latency_shared_with).",
    )
    noise_floor: bool = knob(True, "Run a baseline once more, untimed, and compare it with itself.")

    @property
    def timed_once(self) -> bool:
        """Whether nobody asks for the spread of times, which nothing may then disturb."""
        return self.repeats == 1 and self.within is None and self.rounds == 1

    @property
    def first_look(self) -> int | None:
        """After how many runs the interval is first looked at that decides whether there are more; None: never."""
        return None if self.within is None else self.repeats


@dataclass(frozen=True)
class Metrics(Checked):
    """What is computed from the frames."""

    name: str = knob("fast", "The preset's name.", label=True)
    families: list[str] = knob(
        ["temporal", "motion", "fidelity", "seams", "defects", "baseline"],
        "Metric families, each a file of svdsweep/metrics/, or a module of your own by import path.",
    )
    weights_dir: str | None = knob(
        None, "Folder with weight files of learned metrics, looked in before torch's own cache.", label=True
    )


@dataclass(frozen=True)
class Gpu(Checked):
    """The device as the job sees it."""

    memory_limit_gib: float | None = knob(
        None, "Cap the allocator, to ask whether a job fits a smaller card.", unit="GiB", low=0.1
    )
