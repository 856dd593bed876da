"""What GPUs can do at best, as published, and the floor of latency that follows."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from svdsweep.errors import UserError, nearest
from svdsweep.predict.prediction import GIB, Prediction

TABLE = Path(__file__).with_name("gpus.json")
ANOTHER = {
    *("ti", "super", "laptop", "mobile", "max", "d", "nvl", "mig"),
    *("xt", "xtx", "gre", "m", "s", "pro", "ultra"),
}
"""Behind a GPU's name, these make it another one."""


@dataclass(frozen=True)
class Gpu:
    """Published or measured rates: dense matrix products (10^12 FLOP/s), memory and the host's bus (10^9 byte/s)."""

    title: str
    memory_gib: float
    float16_tflops: float
    """With float32 accumulation, which is PyTorch's default."""
    tf32_tflops: float
    float32_tflops: float
    memory_gb_s: float
    host_gb_s: float
    source: str
    checked: str = ""
    """Which figures were compared with which public page or table."""
    kind: str = "cuda"
    """Whose it is, as `memory.conflicts.KINDS` has it: what it cannot do is not predicted for it."""
    measured_at: str = ""
    """The day on which `svdsweep doctor` measured the rates; empty for published peaks."""

    @property
    def basis(self) -> str:
        """Where these rates come from, in words."""
        if self.measured_at:
            return f"the rates that svdsweep doctor measured on {self.measured_at}"
        return "its published rates"

    def flop_per_s(self, kind: str) -> float:
        """The rate for a kernel's kind; float32 convolutions run as TF32 by PyTorch's default, products do not. The
        rate of fp8 is twice that of float16 on every GPU that has it."""
        float16, tf32 = self.float16_tflops, self.tf32_tflops
        rates = {"float32": self.float32_tflops, "float32_convolution": tf32, "float8": 2 * float16}
        return rates.get(kind, float16) * 1e12


@cache
def known_gpus() -> Mapping[str, Gpu]:
    """Every GPU of the table by the name that one types."""
    gpus = json.loads(TABLE.read_text(encoding="utf-8"))["gpus"]
    return {name: Gpu(**facts) for name, facts in gpus.items()}


def gpu_named(name: str) -> Gpu:
    """The GPU that is meant by `rtx4090`, `RTX 4090` or PyTorch's `NVIDIA GeForce RTX 4090`. Raises UserError."""
    gpus = known_gpus()
    if gpu := gpu_like(name):
        return gpu
    known = f"Known are {', '.join(gpus)}.{nearest(name, gpus)}"
    raise UserError(f"--gpu {name}: not in the table of published peaks. {known}")


def gpu_like(name: str) -> Gpu | None:
    """As `gpu_named`; None for one that is not in the table."""
    key = _key(name)
    return known_gpus()[key] if key else None


def same_gpu(one: str, other: str) -> bool:
    """Whether two names are one name, or mean one GPU of the table."""
    return one == other or (_key(one) is not None and _key(one) == _key(other))


def _key(name: str) -> str | None:
    """The name in the table: one whose words stand in `name` as words, the longest first, unless the next word makes
    it another GPU (`Ti`, `Laptop`)."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    ends = {"".join(words[i:j]): j for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    for key in sorted(known_gpus(), key=len, reverse=True):
        parts = key.split("_")
        end = ends.get("".join(parts)) or (ends[parts[0]] if all(part in ends for part in parts) else None)
        if end and not ANOTHER & set(words[end : end + 1]):
            return key
    return None


def card_of(vram_gib: float) -> Gpu:
    """The smallest card of the published table with that much memory; the largest if none has."""
    cards = sorted(
        (gpu for gpu in known_gpus().values() if gpu.kind == "cuda"), key=lambda gpu: gpu.memory_gib
    )
    return next((gpu for gpu in cards if gpu.memory_gib >= vram_gib), cards[-1])


def floor_s(prediction: Prediction, gpu: Gpu) -> float:
    """Seconds below which the run cannot go on this GPU at its published clock, whatever kernels are written: its
    matrix operations at the peak rate, or its transfers from the host, whichever takes longer in a stage."""
    floor = 0.0
    for stage in prediction.stages.values():
        matrix_s = sum(k.flop * k.count / gpu.flop_per_s(k.kind) for k in stage.kernels)
        floor += max(matrix_s, stage.h2d_gib * GIB / (gpu.host_gb_s * 1e9))
    return floor


def eager_floor_s(prediction: Prediction, gpu: Gpu) -> float:
    """Seconds when each operation by itself runs at the peak rate or at full bandwidth, and transfers wait
    (unless they have a stream): what PyTorch can do without fusion, unless tensors stay cached."""
    memory, floor = gpu.memory_gb_s * 1e9, 0.0
    for stage in prediction.stages.values():
        operations_s = sum(
            k.count * max(k.flop / gpu.flop_per_s(k.kind), k.moved_bytes / memory) for k in stage.kernels
        )
        transfers_s = (stage.h2d_gib + stage.d2h_gib) * GIB / (gpu.host_gb_s * 1e9)
        floor += max(operations_s, transfers_s) if stage.overlapped else operations_s + transfers_s
    return floor
