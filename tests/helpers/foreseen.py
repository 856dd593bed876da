"""Predictions that nobody made, and jobs under a strategy."""

import dataclasses

from svdsweep.config import Job, Memory
from svdsweep.predict.prediction import Kernel, Prediction, Stage
from svdsweep.store.columns import STAGES


def under(job: Job, **knobs: object) -> Job:
    return dataclasses.replace(job, memory=Memory(**knobs))  # type: ignore[arg-type]


def made_up(
    peak_gib: float, stage: str = "denoise", flop: int = 10**12, weights_gib: float = 0.0
) -> Prediction:
    low = Stage(0.1, 0.1, "", "", [], [], 0.0, 0.0)
    top = Stage(peak_gib, weights_gib, "add", "unet", [], [Kernel("float16", flop, 10**9, 3)], 0.0, 0.0)
    return Prediction({name: top if name == stage else low for name in STAGES})
