"""What a search of `tune` would take, before anything runs: runs, calls of the UNet, predicted VRAM, floor of time."""

from dataclasses import dataclass

from svdsweep.config import Job
from svdsweep.memory.per_run import unet_calls_of
from svdsweep.predict.allowance import Allowance, needed_gib
from svdsweep.predict.batch import Unpredicted, outcomes
from svdsweep.predict.gpus import Gpu, floor_s
from svdsweep.search.tune_schedules import population_of, published, under
from svdsweep.search.tune_stages import Wish


@dataclass(frozen=True)
class Part:
    """Runs that cost the same: each calls the UNet `unet_calls` times. What cannot be predicted is None."""

    name: str
    runs: int
    unet_calls: int
    vram_gib: float | None
    floor_s: float | None
    """The least time of all of them on one GPU."""
    not_predicted: str = ""

    @property
    def all_calls(self) -> int:
        """Calls of the UNet in all its runs."""
        return self.runs * self.unet_calls

    @property
    def floor_min(self) -> float | None:
        """The floor in minutes."""
        return None if self.floor_s is None else self.floor_s / 60


def plan(wish: Wish, gpu: Gpu | None, allowance: Allowance) -> list[Part]:
    """The parts of a search, in their order; where a job was not predicted before, torch is imported, and that takes
    seconds."""
    cases = wish.cases
    kinds: list[tuple[str, Job, int]] = [("full runs", cases.all[0], len(cases.all))]
    for steps in wish.steps:
        job = under(cases.all[0], f"tune_{steps}", sigmas=published(steps))
        trials = wish.generations * population_of(steps) + 1
        kinds.append((f"{trials} trials of {steps} steps", job, trials * len(cases.searched)))
        kinds.append((f"held-out cases at {steps} steps", job, 3 * len(cases.held_out)))
    predicted = outcomes([job for _, job, _ in kinds], kind=gpu.kind if gpu else "cuda")
    parts = []
    for name, job, runs in kinds:
        outcome, calls = predicted[job.key], unet_calls_of(job)
        if isinstance(outcome, Unpredicted):
            parts.append(Part(name, runs, calls, None, None, outcome.reason))
        else:
            seconds = floor_s(outcome, gpu) * runs if gpu else None
            parts.append(Part(name, runs, calls, needed_gib(outcome, allowance), seconds))
    return parts
