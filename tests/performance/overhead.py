"""What a sweep costs over a bare loop, what it saves over reloading, and what a second worker brings.

    python tests/performance/overhead.py [--jobs 30] [--rounds 3] [--without-scaling]

The bare loop calls one loaded pipeline with the same settings and writes the same videos and contact sheets, and
nothing else. It runs side by side with a sweep of one worker, each with half of the cores and its driver on them, which
they change every round: a machine that slows down slows both. The other ways take turns: a sweep of one worker and of
two, and the naive loops, which load the pipeline for each job, in one process or in a process a job. One thread a
process."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import diffusers
import numpy as np
import published
import torch
import transformers

from svdsweep.config import Job
from svdsweep.grid.expand import expand
from svdsweep.images import open_image
from svdsweep.models.load import load_pipeline
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.store.rows import Store
from svdsweep.worker import load_worker
from svdsweep.worker.media import write_contact_sheet, write_video

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

NAIVE_JOBS = 6
"""Of the naive loops, which take the same time for every job."""


def generate(pipe: object, job: Job, folder: Path) -> None:
    """What a script does for one video."""
    frames = pipe(  # type: ignore[operator]
        open_image(job.image, job.height, job.width),
        height=job.height,
        width=job.width,
        num_frames=job.num_frames,
        num_inference_steps=job.num_inference_steps,
        min_guidance_scale=job.min_guidance_scale,
        max_guidance_scale=job.max_guidance_scale,
        fps=job.fps,
        motion_bucket_id=job.motion_bucket_id,
        noise_aug_strength=job.noise_aug_strength,
        decode_chunk_size=job.frames_per_decode,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="np",
    ).frames[0]
    levels = (frames * 255).round().astype(np.uint8)
    write_video(folder / "videos" / f"{job.key}.mp4", levels, job.fps)
    write_contact_sheet(folder / "sheets" / f"{job.key}.png", levels)


def bare(jobs: list[Job], folder: Path) -> float:
    """Seconds a job, from the end of the first to the end of the last."""
    torch.set_num_threads(1)
    pipe = load_pipeline(jobs[0].model, torch.device("cpu"))
    ends = []
    for job in jobs:
        generate(pipe, job, folder)
        ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / (len(jobs) - 1)


def reloading(jobs: list[Job], folder: Path) -> float:
    """Seconds a job of a loop that loads the pipeline each time."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    for job in jobs[:NAIVE_JOBS]:
        generate(load_pipeline(job.model, torch.device("cpu")), job, folder)
    return (time.perf_counter() - began) / NAIVE_JOBS


def restarting(jobs: list[Job], folder: Path) -> float:
    """Seconds a job of a script that is started anew for each."""
    code = (
        "import sys, torch; from pathlib import Path; import overhead; torch.set_num_threads(1)\n"
        "job = overhead.jobs_of(int(sys.argv[1]) + 1)[-1]\n"
        "overhead.generate(overhead.load_pipeline(job.model, torch.device('cpu')), job, Path(sys.argv[2]))"
    )
    began = time.perf_counter()
    for number in range(NAIVE_JOBS):
        subprocess.run(
            [sys.executable, "-c", code, str(number), str(folder)], check=True, cwd=Path(__file__).parent
        )
    return (time.perf_counter() - began) / NAIVE_JOBS


def swept(jobs: list[Job], folder: Path, workers: int = 1) -> float:
    """Seconds a job of a sweep, from the first row of the last worker to begin on."""
    runner = expand(["runner.devices=cpu", f"runner.workers_per_device={workers}"]).runner
    ends, begun = [], set()
    for row in run_jobs(jobs, load_worker, runner, Store(folder), Watch()):
        begun.add(row.provenance["worker"])
        if len(begun) == workers:
            ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def two_workers(jobs: list[Job], folder: Path) -> float:
    """The same by two workers."""
    return swept(jobs, folder, workers=2)


def jobs_of(count: int) -> list[Job]:
    """So many jobs of the embedded model that differ in the seed; nothing is judged of their frames."""
    return list(expand([f"seed=range({count})", "metrics=none"]).jobs)


BESIDE = {"bare loop": bare, "sweep, one worker": swept}
ALONE = {
    "sweep, one worker": swept,
    "sweep, two workers": two_workers,
    "loop that reloads": reloading,
    "script a job": restarting,
}


def side_by_side(count: int, turned: bool) -> dict[str, float]:
    """Seconds a job of `BESIDE`, each in a process of its own on half of the cores; `turned`, on the other half."""
    cores = sorted(os.sched_getaffinity(0))
    halves = [cores[: len(cores) // 2] or cores, cores[len(cores) // 2 :]]
    if turned:
        halves.reverse()

    def measured(name: str, half: list[int]) -> float:
        on = ",".join(map(str, half))
        return float(published.in_a_process(__file__, "--way", name, "--jobs", str(count), "--cores", on))

    with ThreadPoolExecutor(len(BESIDE)) as pool:
        return dict(zip(BESIDE, pool.map(measured, BESIDE, halves), strict=True))


def main() -> None:
    """Print and publish the table."""
    parser = published.options(__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-scaling", action="store_true", help="leave the second worker out")
    parser.add_argument(
        "--way", choices=list(BESIDE), help="measure this one alone, on --cores, and print it"
    )
    parser.add_argument("--cores", help="numbers of cores, for --way")
    asked = parser.parse_args()
    jobs = jobs_of(asked.jobs)
    if asked.way:
        os.sched_setaffinity(0, {int(core) for core in asked.cores.split(",")})
        with tempfile.TemporaryDirectory() as folder:
            print(BESIDE[asked.way](jobs, Path(folder)))
        return
    ways = {k: v for k, v in ALONE.items() if not (asked.without_scaling and v is two_workers)}
    beside: dict[str, list[float]] = {name: [] for name in BESIDE}
    alone: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(asked.rounds):
        for name, seconds in side_by_side(asked.jobs, turned=bool(turn % 2)).items():
            beside[name].append(seconds)
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                alone[name].append(way(jobs, Path(folder)))
    published.publish(
        asked.out,
        "overhead",
        "A sweep against loops",
        f"{asked.jobs} jobs of the embedded model ({jobs[0].num_frames} frames of {jobs[0].height}×{jobs[0].width}, "
        f"{jobs[0].num_inference_steps} steps, one settings group), one thread a process; seconds a job once every "
        f"worker has ended its first; the naive loops over {NAIVE_JOBS} jobs. Medians of {asked.rounds} rounds, `÷` of "
        "the rounds' own ratios. Side by side: at the same time, each on half of the cores, the sweep's driver on the "
        "same as its worker.",
        [
            *(row(name, "side by side", beside[name], "bare loop", beside["bare loop"]) for name in beside),
            *(
                row(name, "alone", alone[name], "sweep, one worker", alone["sweep, one worker"])
                for name in alone
            ),
        ],
    )


def row(name: str, how: str, seconds: list[float], than: str, reference: list[float]) -> dict[str, object]:
    """Of the table."""
    return {
        "way": name,
        "run": how,
        "s a job": statistics.median(seconds),
        "÷": statistics.median(a / b for a, b in zip(seconds, reference, strict=True)),
        "of": than,
        "every round, s a job": " ".join(f"{s:.3f}" for s in seconds),
    }


if __name__ == "__main__":
    main()
