"""What is predicted of a job, as plain data: no torch here, so that `plan` can read it at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 2**20
GIB = 2**30
KINDS = ("weights", "activations", "attention", "decode", "transfers")
"""What live bytes are, by the first of these that holds: parameters and buffers (`weights`); else what was last filled
from the host (`transfers`); else what was made within an attention layer (`attention`), in the rest of the VAE's decode
(`decode`), or anywhere else (`activations`). cuDNN's workspaces are of the kind of what the convolution makes."""
WEIGHTS, ACTIVATIONS, ATTENTION, DECODE, TRANSFERS = range(len(KINDS))


@dataclass(frozen=True)
class Alive:
    """A tensor that is alive at a peak, and the operation and module that made it."""

    mib: float
    shape: tuple[int, ...]
    dtype: str
    operation: str
    module: str


@dataclass(frozen=True)
class Kernel:
    """An operation as often as it occurs with equal size. `kind`: the rate that bounds it, besides bandwidth."""

    kind: str
    flop: int
    moved_bytes: int
    count: int


@dataclass(frozen=True)
class Stretch:
    """Live bytes over a stage, or over one turn of the denoising loop."""

    points: list[list[int]]
    """Bytes by `KINDS` at the highest moment of each equal share of the stretch, in their order; a share is so many
    modules that came to their end."""
    operation: str
    module: str
    """Where its peak is; both are empty when it is at the beginning."""
    turn: int = 0
    times: int = 1
    """Which turn of the loop it is, from 0, and how many turns are like it."""

    @property
    def composition(self) -> dict[str, int]:
        """Bytes by kind at the peak."""
        return dict(zip(KINDS, max(self.points, key=sum), strict=True))

    @property
    def peak(self) -> int:
        """Bytes."""
        return max(map(sum, self.points))

    @property
    def by_kind_mib(self) -> dict[str, list[float]]:
        """The points of each kind."""
        of_kinds = zip(*self.points, strict=True)
        return {kind: [n / MIB for n in points] for kind, points in zip(KINDS, of_kinds, strict=True)}


@dataclass(frozen=True)
class Stage:
    """A stage of a run, from boundary to boundary as the probes have it."""

    peak_gib: float
    """Live tensors and what cuDNN's convolutions hold beside them, as `torch.cuda.max_memory_allocated` counts them;
    without other workspaces of libraries."""
    weights_gib: float
    """The part of the peak that is parameters."""
    operation: str
    module: str
    """Where the peak is; both are empty when it is at the stage's beginning."""
    largest: list[Alive]
    kernels: list[Kernel]
    h2d_gib: float
    d2h_gib: float
    """What is moved from host to device and back, in all steps of a denoise together."""
    overlapped: bool = False
    """Whether transfers go on beside the kernels, on a stream of their own."""
    host_gib: float = 0.0
    """Page-locked host memory that a streamed decode keeps frames in."""
    over_time: list[Stretch] = field(default_factory=list)
    """One, or one for each different turn of the denoising loop."""

    @property
    def composition_gib(self) -> dict[str, float]:
        """The peak by `KINDS`; empty where it was not recorded."""
        highest = max(self.over_time, key=lambda stretch: stretch.peak, default=None)
        return {kind: n / GIB for kind, n in highest.composition.items()} if highest else {}

    @property
    def tflop(self) -> float:
        """Floating-point operations of matrix products, convolutions and attention, 10^12; two a multiplication."""
        return sum(k.flop * k.count for k in self.kernels) / 1e12

    @property
    def moved_gib(self) -> float:
        """What the operations read and write as they stand, each by itself."""
        return sum(k.moved_bytes * k.count for k in self.kernels) / GIB

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Stage":
        """The stage that `dataclasses.asdict` turned into `plain`."""
        largest = [Alive(**{**a, "shape": tuple(a["shape"])}) for a in plain["largest"]]
        kernels = [Kernel(**k) for k in plain["kernels"]]
        over_time = [Stretch(**stretch) for stretch in plain["over_time"]]
        return cls(**{**plain, "largest": largest, "kernels": kernels, "over_time": over_time})


@dataclass(frozen=True)
class Prediction:
    """What is predicted of a job: each stage by its name, in their order."""

    stages: dict[str, Stage]
    notes: list[str] = field(default_factory=list)
    """Where the simulation differs from what will run."""

    @property
    def peak_gib(self) -> float:
        """The peak of the whole run."""
        return max(stage.peak_gib for stage in self.stages.values())

    @property
    def peak_stage(self) -> str:
        """The stage that has the peak of the run."""
        return max(self.stages, key=lambda name: self.stages[name].peak_gib)

    @property
    def tflop(self) -> float:
        """Floating-point operations of the whole run, 10^12."""
        return sum(stage.tflop for stage in self.stages.values())

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Prediction":
        """The prediction that `asdict` turned into `plain`. Raises KeyError or TypeError for anything else."""
        return cls({k: Stage.from_plain(v) for k, v in plain["stages"].items()}, list(plain["notes"]))
