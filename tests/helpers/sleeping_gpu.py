"""A worker whose GPU is simulated: it sleeps as long as a real one would compute, and answers frames of that size.

All else is the worker's own: what is judged, compared, encoded and stored, and when the next job begins."""

import os
import time
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from svdsweep.images import open_image
from svdsweep.probes.stages import StageProbe, Timing
from svdsweep.worker import measuring
from svdsweep.worker.contract import Slot, Work
from svdsweep.worker.measuring import Output, Setup
from svdsweep.worker.worker import Worker
from svdsweep.worker.worker import load as load_worker

SECONDS = "SVDSWEEP_TEST_GPU_S"
"""The environment's variable for the seconds of a run."""


def load(slot: Slot) -> Work:
    """A worker on the CPU that takes itself for one on a GPU; each run leaves its begin and end in <folder>/busy."""
    worker = load_worker(slot)
    assert isinstance(worker, Worker)
    worker.spare_cores = slot.judge_beside
    log = slot.folder / f"busy-{os.getpid()}"

    def generate(setup: Setup, probe: StageProbe) -> Output:
        probe.report("denoise", None)
        job = setup.job
        moving(job.num_frames, job.height, job.width)  # drawn once
        began = time.monotonic()
        made = moving(job.num_frames, job.height, job.width).copy()  # a run ends with its frames on the host
        time.sleep(max(0.0, float(os.environ[SECONDS]) - (time.monotonic() - began)))
        ended = time.monotonic()
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{began} {ended}\n")
        latents = torch.zeros(1, job.num_frames, 4, job.height // 8, job.width // 8)
        return Output(made, latents, Timing(ended - began, {"denoise": ended - began}, [], {}))

    measuring.generate = generate
    return worker


@cache
def moving(count: int, height: int, width: int) -> NDArray[np.float32]:
    """A picture that moves to the right by a pixel a frame, under a little noise: (count, height, width, 3), 0-1."""
    from svdsweep.config import Image

    picture = np.asarray(open_image(Image(name="rocket", path="rocket.jpg"), height, width), np.float32) / 255
    noise = np.random.default_rng(0).normal(0, 0.01, (count, *picture.shape)).astype(np.float32)
    return (np.stack([np.roll(picture, t, axis=1) for t in range(count)]) + noise).clip(0, 1)


def waited(folder: Path) -> tuple[float, float]:
    """The seconds that the simulated GPUs of a sweep were idle between their runs, and those that they were busy."""
    idle = busy = 0.0
    for log in folder.glob("busy-*"):
        runs = [tuple(map(float, line.split())) for line in log.read_text(encoding="utf-8").splitlines()]
        busy += sum(end - begin for begin, end in runs)
        idle += sum(begin - end for (_, end), (begin, _) in pairwise(runs))
    return idle, busy
