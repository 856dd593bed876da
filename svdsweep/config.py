"""The schema: a job made of its parts, and where a sweep runs. Every field carries its range, unit and help."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Union

from svdsweep.identity import canonical, digest, rebuild
from svdsweep.parts import PER_RUN, Gpu, Image, Measure, Memory, Metrics, Model
from svdsweep.schema import Checked, UserError, knob

__all__ = [
    "PER_RUN",
    "Config",
    "Gpu",
    "Image",
    "Job",
    "Measure",
    "Memory",
    "Metrics",
    "Model",
    "Ray",
    "Runner",
    "Slurm",
    "job_from",
]


@dataclass(frozen=True)
class Job(Checked):
    """One point of the grid, fully resolved: what is computed, and nothing of where."""

    model: Model = field(default_factory=Model)
    image: Image = field(default_factory=Image)
    seed: int = knob(
        0,
        "Seed of the CPU generator: equal seeds start from equal noise on every device.",
        low=0,
        high=2**63 - 1,
    )
    motion_bucket_id: int = knob(127, "Amount of motion asked for.", low=0, high=255)
    noise_aug_strength: float = knob(
        0.02,
        "Noise added to the conditioning image: more motion, less likeness.",
        low=0.0,
    )
    fps: int = knob(
        7,
        "Frame rate the model is conditioned on (diffusers feeds fps - 1), and of the written video.",
        unit="frames/s",
        low=1,
    )
    num_frames: int = knob(14, "Length of the video.", unit="frames", low=1)
    height: int = knob(64, "Height of the video.", unit="px", low=8, multiple_of=8)
    width: int = knob(64, "Width of the video.", unit="px", low=8, multiple_of=8)
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
    def settings_key(self) -> str:
        """Key of what decides which pipeline is loaded; jobs with equal ones share a warm pipeline."""
        parts = {part: canonical(getattr(self, part)) for part in ("model", "memory", "gpu")}
        parts["memory"] = {k: v for k, v in parts["memory"].items() if k not in PER_RUN}
        return digest(parts)

    @property
    def frames_per_decode(self) -> int:
        """`decode_chunk_size` as a number of frames, at most `num_frames`; for `auto`, which a worker decides, all."""
        chunk = self.decode_chunk_size
        return min(chunk, self.num_frames) if isinstance(chunk, int) else self.num_frames


@dataclass(frozen=True)
class Slurm(Checked):
    """What each task of the array asks of SLURM under runner=slurm; what is not set is left to the cluster."""

    shards: int = knob(
        4, "Tasks of the array: so many allocations share the jobs, each runs the local pool.", low=1
    )
    partition: str | None = knob(None, "Partition to submit to.")
    account: str | None = knob(None, "Account to charge.")
    qos: str | None = knob(None, "Quality of service.")
    constraint: str | None = knob(None, "Features that the nodes must have, such as `h100`.")
    gres: str | None = knob("gpu:1", "Generic resources of a task; null for none.")
    time_min: int = knob(
        240, "Time limit of a task; jobs that it cuts off run when SLURM requeues it.", unit="min", low=1
    )
    cpus_per_task: int = knob(4, "CPU cores of a task.", low=1)
    mem_gib: int | None = knob(None, "Host memory of a task.", unit="GiB", low=1)
    container: str | None = knob(None, "Container image (pyxis): passed to srun as --container-image.")
    setup: list[str] = knob([], "Shell lines before the task, such as `module load cuda`.")
    requeues: int = knob(
        10, "How often a task that ran out of its time is queued again; preemption does not count.", low=0
    )
    signal_s: int = knob(90, "How long before its end a task is warned, to be requeued.", unit="s", low=1)
    poll_s: float = knob(
        5.0,
        "How often the driver looks at the row files; the queue is asked six times less.",
        unit="s",
        low=0.1,
    )


@dataclass(frozen=True)
class Ray(Checked):
    """Where runner=ray finds its machines."""

    address: str | None = knob(
        None,
        "`auto` or HEAD:6379 joins a cluster; not set, Ray starts on this machine and ends with the sweep.",
    )
    actors: int | None = knob(
        None, "Workers at most; not set: as many as the cluster has room for, also as machines join.", low=1
    )
    gpus_per_actor: float = knob(1.0, "GPUs of an actor; 0 runs on the CPU.", low=0, high=1)
    cpus_per_actor: float = knob(1.0, "CPU cores of an actor, also its threads.", low=0)


@dataclass(frozen=True)
class Runner(Checked):
    """Where jobs run and what happens when they fail. Not part of a job: it changes no result."""

    name: str = knob("local", "The engine.", words=("local", "slurm", "ray"))
    devices: str = knob(
        "auto", "`auto` (every GPU, else the CPU), `cpu`, or GPU indices, UUIDs or MIG names: `0,1,3`."
    )
    workers_per_device: int = knob(
        1,
        "Processes that share the CPU, each with its part of the cores; a GPU is never shared.",
        low=1,
    )
    isolation: str = knob(
        "device",
        "How long a process lives: for all jobs of its device, for those of equal settings, or for one job.",
        words=("device", "settings", "job"),
    )
    timeout_s: float | None = knob(
        None, "A job without an answer for this long is killed.", unit="s", low=0.1
    )
    start_timeout_s: float = knob(
        600.0, "A process that is not ready for this long counts as a failed start.", unit="s", low=1
    )
    attempts: int = knob(
        3, "How often a failed, crashed or timed-out job is tried in all, over repeated runs.", low=1
    )
    retry: list[str] = knob(
        [], "Statuses to try again whatever the attempts, also final ones: `[oom]`, `[failed,crashed]`."
    )
    fresh: bool = knob(False, "Run every job again, also finished ones; the new rows replace the old.")
    skip_predicted_oom: bool = knob(
        False, "Jobs that cannot fit by prediction become `rejected` rows with the figure, without running."
    )
    fail_fast: bool = knob(False, "Stop the sweep at the first failed, crashed or timed-out job.")
    claim_stale_s: float = knob(
        60.0,
        "A job claimed by another driver that has given no sign of life for this long is taken over.",
        unit="s",
        low=1,
    )
    slurm: Slurm = field(default_factory=Slurm)
    ray: Ray = field(default_factory=Ray)


@dataclass(frozen=True)
class Config(Job):
    """All that a command line can say: a job, and where the sweep of such jobs lives and runs."""

    name: str | None = knob(
        None, "Name of the sweep; default: the preset's, or `sweep-` and a hash of the grid."
    )
    runs_dir: str = knob("runs", "Folder of all sweeps.")
    runner: Runner = field(default_factory=Runner)

    @property
    def job(self) -> Job:
        """The part that is computed."""
        return Job(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Job)})


def job_from(plain: dict[str, Any]) -> Job:
    """The job that `dataclasses.asdict` turned into `plain`; missing fields get their defaults, unknown ones go."""
    job: Job = rebuild(Job, plain)
    return job
