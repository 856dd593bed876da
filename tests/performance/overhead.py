"""python tests/performance/overhead.py [--jobs 30] [--threads 1]: what a sweep costs over a bare loop.

The bare loop calls the same loaded pipeline with the same settings and writes the same videos and contact sheets, and
nothing else. Both are timed from the end of the first job to the end of the last, in turns, so that a machine that
slows down slows both; the ratio of the medians is the overhead."""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--jobs", type=int, default=30)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

import numpy as np  # noqa: E402 (the number of threads is read at import)
import torch  # noqa: E402

from svdsweep.config import Job  # noqa: E402
from svdsweep.grid import expand  # noqa: E402
from svdsweep.images import open_image  # noqa: E402
from svdsweep.loading import load_worker  # noqa: E402
from svdsweep.media import write_contact_sheet, write_video  # noqa: E402
from svdsweep.models.load import load_pipeline  # noqa: E402
from svdsweep.runner import run_jobs  # noqa: E402
from svdsweep.runner.progress import Silent  # noqa: E402


def bare(jobs: list[Job], folder: Path) -> float:
    """Seconds from the end of the first job to the end of the last."""
    torch.set_num_threads(options.threads)
    pipe = load_pipeline(jobs[0].model, torch.device("cpu"))
    ends = []
    for job in jobs:
        frames = pipe(
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
        ends.append(time.perf_counter())
    return ends[-1] - ends[0]


def swept(jobs: list[Job], folder: Path) -> float:
    """The same by a sweep of one worker: from its first row to its last."""
    runner = expand(["runner.devices=cpu"]).runner
    ends = [time.perf_counter() for _ in run_jobs(jobs, load_worker, runner, folder, Silent())]
    return ends[-1] - ends[0]


def main() -> None:
    """Print both times of every round and the ratio of the medians."""
    jobs = expand([f"seed=range({options.jobs})", "metrics=none"]).jobs
    times: dict[str, list[float]] = {"bare": [], "sweep": []}
    for _ in range(options.rounds):
        for name, run in (("bare", bare), ("sweep", swept)):
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(run(jobs, Path(folder)))
    print(
        f"{options.jobs} jobs, {options.threads} thread(s), torch {torch.__version__}, {platform.machine()}"
    )
    for name, seconds in times.items():
        print(
            f"{name:6}", " ".join(f"{s:.2f} s" for s in seconds), f"median {statistics.median(seconds):.2f} s"
        )
    print(f"sweep / bare = {statistics.median(times['sweep']) / statistics.median(times['bare']):.3f}")


if __name__ == "__main__":
    main()
