"""The schema: a job made of its parts, and where a sweep runs. Every field carries its range, unit and help."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

from svdsweep.config.keys import canonical, canonical_part, digest, rebuild
from svdsweep.config.memory import PER_RUN, Memory, keeps_unet_weights
from svdsweep.config.parts import MODEL_PER_RUN, Gpu, Image, Measure, Metrics, Model
from svdsweep.config.rules import Checked, knob
from svdsweep.errors import UserError

AUTO = "auto"
"""A height or width that follows from the picture's shape, while a command line is read; all jobs of a grid have
numbers."""
if TYPE_CHECKING:
    Pixels = int
else:
    Pixels = Union[int, str]  # noqa: UP007 (as below)


@dataclass(frozen=True)
class Job(Checked):
    """One point of the grid, fully resolved: what is computed, and nothing of where."""

    model: Model = field(default_factory=Model)
    image: Image = field(default_factory=Image)
    seed: int = knob(
        0,
        "Seed of the CPU generator: equal seeds start from equal noise on every device. PyTorch draws by its lowest "
        "32 bits, so 0 and 4294967296 are alike.",
        low=0,
        high=2**64 - 1,
    )
    motion_bucket_id: int = knob(127, "Amount of motion asked for.", low=0, high=255)
    noise_aug_strength: float = knob(
        0.02, "Noise added to the conditioning image: more motion, less likeness.", low=0.0
    )
    fps: int = knob(
        7,
        "Frame rate the model is conditioned on (diffusers feeds fps - 1), and of the written video.",
        unit="frames/s",
        low=1,
    )
    num_frames: int = knob(14, "Length of the video.", unit="frames", low=1)
    height: Pixels = knob(
        64,
        "Height of the video. `auto`: by the picture's shape.",
        unit="px",
        low=8,
        multiple_of=8,
        words=(AUTO,),
    )
    width: Pixels = knob(
        64,
        "Width of the video. `auto`: by the picture's shape.",
        unit="px",
        low=8,
        multiple_of=8,
        words=(AUTO,),
    )
    num_inference_steps: int = knob(10, "Denoising steps.", low=1)
    min_guidance_scale: float = knob(1.0, "Classifier-free guidance at the first frame.", low=0.0)
    max_guidance_scale: float = knob(
        3.0,
        "Classifier-free guidance at the last frame; at most 1 turns guidance off and halves the work.",
        low=0.0,
    )
    decode_chunk_size: Union[int, str] = knob(  # noqa: UP007 (OmegaConf reads this form)
        "all",
        "Frames decoded at once: memory grows with it; fewer than all changes the pictures. `auto`: as many as fit.",
        unit="frames",
        low=1,
        words=("all", "auto"),
    )
    memory: Memory = field(default_factory=Memory)
    measure: Measure = field(default_factory=Measure)
    metrics: Metrics = field(default_factory=Metrics)
    gpu: Gpu = field(default_factory=Gpu)
    baseline: str = knob(
        "", "Key of the job with the same generation parameters under memory=baseline; filled in.", label=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_guidance_scale > self.max_guidance_scale:
            raise UserError(
                f"min_guidance_scale={self.min_guidance_scale:g} is above "
                f"max_guidance_scale={self.max_guidance_scale:g}: "
                "guidance rises from the first frame to the last, so the minimum may be at most the maximum."
            )
        if self.num_frames == 1 and self.max_guidance_scale > 1:
            raise UserError(
                f"num_frames=1 with max_guidance_scale={self.max_guidance_scale:g} is not possible: "
                "diffusers spreads guidance over the frames and stops in mid-run when there is only one. "
                "Ask for at least 2 frames, or set max_guidance_scale=1 (no guidance)."
            )

    @cached_property
    def key(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON, without labels and fields at their default.

        So a new field with a default orphans no row and renames no sweep."""
        return digest(canonical(self))

    @cached_property
    def pipeline_key(self) -> str:
        """Key of what decides which pipeline is loaded; jobs with equal ones share a warm pipeline."""
        parts = {part: canonical_part(getattr(self, part)) for part in ("model", "memory", "gpu")}
        parts["memory"] = {k: v for k, v in parts["memory"].items() if k not in PER_RUN}
        if keeps_unet_weights(self.memory):  # of a warm pipeline, the share of its LoRA can be changed
            parts["model"] = {k: v for k, v in parts["model"].items() if k != "lora_scale"}
        parts["model"] = {k: v for k, v in parts["model"].items() if k not in MODEL_PER_RUN}
        return digest(parts)

    def with_baseline(self, key: str) -> "Job":
        """The same job with its baseline's key; that is a label, so its own key stays, and nothing is checked again."""
        job = copy.copy(self)
        object.__setattr__(job, "baseline", key)
        return job

    @property
    def decodes_by_frame(self) -> bool:
        """Whether another decoder than SVD's own makes the frames, each by itself, whatever `decode_chunk_size` is."""
        return self.model.decoder != "temporal"

    @property
    def frames_per_decode(self) -> int:
        """`decode_chunk_size` as a number of frames, at most `num_frames`; for `auto`, which a worker decides, all."""
        chunk = self.decode_chunk_size
        if isinstance(chunk, int) and not self.decodes_by_frame:
            return min(chunk, self.num_frames)
        return self.num_frames


def job_from(plain: dict[str, Any]) -> Job:
    """The job that `dataclasses.asdict` turned into `plain`; missing fields get their defaults, unknown ones go."""
    job: Job = rebuild(Job, plain)
    return job
