"""What a prediction becomes when the UNet is called at fewer steps, and how many fit a time."""

from dataclasses import replace
from math import floor

from svdsweep.config import Job
from svdsweep.memory.per_run import turns_of
from svdsweep.predict.gpus import Gpu, eager_floor_s
from svdsweep.predict.prediction import Kernel, Prediction

DENOISE = "denoise"


def with_steps(prediction: Prediction, job: Job, steps: int) -> Prediction:
    """The prediction of a job in so many steps of one call each, from that of all its own: each step costs the same,
    and holds the same."""
    share = steps / turns_of(job)
    stage = prediction.stages[DENOISE]
    kernels = [Kernel(k.kind, k.flop, k.moved_bytes, round(k.count * share)) for k in stage.kernels]
    moves = 1.0 if job.memory.offload == "model" else share  # as a whole, once a run
    fewer = replace(stage, kernels=kernels, h2d_gib=stage.h2d_gib * moves, d2h_gib=stage.d2h_gib * moves)
    return Prediction(prediction.stages | {DENOISE: fewer}, prediction.notes)


def most_steps(prediction: Prediction, job: Job, gpu: Gpu, seconds: float) -> int:
    """In how many steps at most the job's floor of latency on a GPU is no more than `seconds`; 0 or less where even
    the other stages take longer."""
    one, two = (eager_floor_s(with_steps(prediction, job, steps), gpu) for steps in (1, 2))
    return min(turns_of(job), 1 + floor((seconds - one) / (two - one))) if two > one else turns_of(job)
