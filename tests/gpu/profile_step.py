"""Where the time of a denoising step and of the decode goes: attention, convolution, matrix products, the rest, idle.

    python tests/gpu/profile_step.py model=svd_xt model.weights=random memory=fastest [--out FOLDER]

One job, its settings as on svdsweep's own command line; on the GPU if there is one, else on the CPU (a rehearsal). The
pipeline runs once untimed and once under torch's profiler, with three steps. On a GPU the shares are of the device's
time, idle what no kernel fills; on the CPU of the operators' own time. A second table names the longest kernels."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[1] / "performance"))
import published

from svdsweep.config import Job
from svdsweep.grid.expand import expand
from svdsweep.images import open_image
from svdsweep.memory.apply import prepare
from svdsweep.models.load import load_pipeline
from svdsweep.worker.measuring import Setup, run_once

STEPS = 3
KINDS = {
    "attention": ("flash", "fmha", "attention", "softmax", "sdpa"),
    "turning frames over": ("nchwtonhwc", "nhwctonchw", "converttensor"),
    "convolution": ("conv", "cudnn", "winograd", "implicit", "fprop", "vol2col"),
    "matrix products": (
        "gemm",
        "cutlass",
        "cublas",
        "addmm",
        "::mm",
        "::bmm",
        "linear",
        "matmul",
        "xmma",
        "nvjet",
    ),
    "normalisation": ("norm", "rowwisemoments", "computefusedparams"),
    "copies": ("memcpy", "copy_", "copy<", "memset", "::to", "contiguous", "clone"),
}
OTHER = "element-wise and other"
INDUCTORS = {"tem": "matrix products", "red": "normalisation", "per": "normalisation", "poi": OTHER}
"""Kernels that inductor writes are named after all that was fused into them; what they are stands before that. Its
reductions in SVD are norms."""


def kind_of(name: str) -> str:
    """The kind of a kernel or operator by its name."""
    lowered = name.lower()
    if lowered.startswith("triton_"):
        return INDUCTORS.get(lowered.split("_")[1], OTHER)
    return next((kind for kind, words in KINDS.items() if any(w in lowered for w in words)), OTHER)


def busy_us(spans: Iterable[tuple[float, float]]) -> float:
    """Microseconds in which at least one of the spans is under way."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


LONGEST = 25
"""Kernels of the second table."""


@dataclass
class Profiled:
    """A run under the profiler: microseconds of the whole, by kind, and by kernel with the number of its calls."""

    whole_us: float
    kinds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    kernels: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, name: str, us: float, calls: int = 1) -> None:
        """Count calls of a kernel or operator."""
        self.kinds[kind_of(name)] += us
        spent, count = self.kernels.get(name, (0.0, 0))
        self.kernels[name] = spent + us, count + calls


def profiled(job: Job, device: torch.device) -> Profiled:
    """The job's second run."""
    pipe = load_pipeline(
        job.model, device if job.memory.offload == "none" else torch.device("cpu"), drawn_on=device
    )
    prepare(pipe, job.memory, device)
    picture = open_image(job.image, job.height, job.width)
    setup = Setup(pipe, job, picture, job.frames_per_decode, device)

    def run() -> float:
        return run_once(setup, lambda *_: None).timing.total_s

    run()
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiler:
        found = Profiled(run() * 1e6)
    if on_gpu:
        kernels: list[Any] = [e for e in profiler.events() if e.device_type == DeviceType.CUDA]
        for event in kernels:
            found.add(event.name, event.time_range.elapsed_us())
        busy = busy_us((e.time_range.start, e.time_range.end) for e in kernels)
        found.kinds["idle"] = found.whole_us - busy
    else:
        for event in profiler.key_averages():
            found.add(event.key, event.self_cpu_time_total, event.count)
    return found


def main() -> None:
    """Print and publish the table."""
    parser = published.options(__doc__)
    parser.add_argument("settings", nargs="*")
    asked = parser.parse_args()
    (job,) = expand([*asked.settings, f"num_inference_steps={STEPS}", "metrics=none"]).jobs
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    found = profiled(job, device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU (a rehearsal)"
    run = (
        f"{job.num_frames} frames of {job.width}×{job.height}, {STEPS} steps, guidance to {job.max_guidance_scale:g}, "
        f"on {where}; {found.whole_us / 1e6:.2f} s under the profiler. Shares of the run"
    )
    published.publish(
        asked.out,
        f"profile_{job.model.name}_{job.memory.name}",
        f"Where the time goes: {job.model.name} under {job.memory.name}",
        f"{run}; kinds overlap where kernels do.",
        [
            {"kind": kind, "ms": us / 1000, "share": f"{us / found.whole_us:.1%}"}
            for kind, us in sorted(found.kinds.items(), key=lambda item: -item[1])
        ],
    )
    longest = sorted(found.kernels.items(), key=lambda item: -item[1][0])[:LONGEST]
    published.publish(
        asked.out,
        f"kernels_{job.model.name}_{job.memory.name}",
        f"The longest kernels: {job.model.name} under {job.memory.name}",
        f"{run}.",
        [
            {
                "kernel": name.replace("|", "/")[:120],
                "kind": kind_of(name),
                "calls": calls,
                "ms": us / 1000,
                "share": f"{us / found.whole_us:.1%}",
            }
            for name, (us, calls) in longest
        ],
    )


if __name__ == "__main__":
    main()
