"""How long a GPU waits for the framework between two jobs of full size, shown by one that sleeps.

    python tests/performance/waiting.py [--jobs 6] [--seconds 20]

For each job the simulated GPU (`tests/helpers/sleeping_gpu.py`) sleeps and answers 25 frames of 576×1024; they are
judged by the default metrics, compared with the baseline's, encoded and stored by the worker itself, on the CPU. The
first job is the baseline of the others."""

import os
import sys
import tempfile
from pathlib import Path

import published

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import sleeping_gpu

from svdsweep.config import Job
from svdsweep.grid.expand import expand
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.store.rows import Store

PRESETS = {
    "quick": "quick",
    "quick, nothing beside": "quick",
    "standard": "standard",
    "standard, already warm": "standard",
    "standard, nothing beside": "standard",
}
SHORT = 0.2
"""A run's share of `--seconds` under `standard`, of which a job has four."""


def jobs_of(count: int, name: str, size: tuple[str, ...]) -> list[Job]:
    """A baseline and jobs that are compared with it. They are of one pipeline, so that nothing is loaded between; of
    another shape each, so that each is warmed up, or of one."""
    chunks = ",".join(str(1 + i % 25) for i in range(count))
    differ = f"seed=range({count})" if "warm" in name else f"decode_chunk_size={chunks}"
    asked = [differ, f"measure={PRESETS[name]}", "measure.share_latents=false", "measure.noise_floor=false"]
    jobs = expand([*asked, *size]).jobs
    return [job.with_baseline(jobs[0].key) for job in jobs]


def measured(name: str, count: int, devices: int, seconds: float, size: tuple[str, ...]) -> dict[str, object]:
    """A row of the table."""
    os.environ[sleeping_gpu.SECONDS] = str(seconds)
    jobs = jobs_of(count * devices, name, size)
    beside = "false" if "nothing" in name else "true"
    asked = ["runner.devices=cpu", f"runner.workers_per_device={devices}", f"runner.judge_beside={beside}"]
    with tempfile.TemporaryDirectory() as folder:
        rows = list(run_jobs(jobs, sleeping_gpu.load, expand(asked).runner, Store(Path(folder)), Watch()))
        idle_s, busy_s = sleeping_gpu.waited(Path(folder))
    assert {row.status for row in rows} == {"ok"}, [row.error for row in rows]
    judging = [float(row.values["judge_s"] or 0) for row in rows]
    return {
        "measure": name,
        "GPUs": devices,
        "a run, s": seconds,
        "idle, s a job": idle_s / (len(rows) - devices),
        "idle ÷ busy, %": 100 * idle_s / busy_s,
        "judging, s a job": sum(judging) / len(judging),
        "peak of a worker, GiB": max(float(row.values["host_ram_peak_gib"] or 0) for row in rows),
    }


def main() -> None:
    """Print and publish the table."""
    parser = published.options(__doc__)
    parser.add_argument("--jobs", type=int, default=6, help="of each GPU")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a run on the GPU")
    asked = parser.parse_args()
    size = ("num_frames=25", "height=576", "width=1024")
    published.publish(
        asked.out,
        "waiting",
        "How long a GPU waits for the framework",
        f"Simulated GPUs that sleep and answer 25 frames of 576×1024; {asked.jobs} jobs each, of one pipeline, the "
        "first the baseline of the others; the default metrics on the CPU's cores, which the GPUs share. `standard` "
        "warms up once for a new shape, which each job has unless it is already warm, and runs three times a job.",
        [
            measured(name, asked.jobs, devices, asked.seconds * (SHORT if "standard" in name else 1), size)
            for name in PRESETS
            for devices in (1, 2)
        ],
    )


if __name__ == "__main__":
    main()
