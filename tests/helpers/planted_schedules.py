"""Rows of a search whose best schedule is known: the nearer a job's noise levels to it, the nearer its latents."""

import math
from collections.abc import Callable, Mapping

from svdsweep.config import Image, Job
from svdsweep.memory.per_run import sigmas_of, unet_calls_of
from svdsweep.search.tune_cases import Cases, split
from svdsweep.search.tune_stages import Outcome, Wish, stages
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Report, Slot, Work

BEST = (700.0, 6.0, 1.5, 0.3, 0.0)
BEST_DB = 30.0


def grid(pictures: int = 4, seeds: int = 3, **settings: object) -> list[Job]:
    """Full runs of 25 steps."""
    return [
        Job(image=Image(name=f"p{p}", sha256=f"{p}"), seed=seed, num_inference_steps=25, **settings)
        for p in range(pictures)
        for seed in range(seeds)
    ]


def cases(searched: int = 2, held_out: int = 6) -> Cases:
    return split(grid(), searched, held_out, 0)


def gap_db(job: Job) -> float:
    """By how much a job is farther from its full run than with the best levels: squares of the gaps in log sigma."""
    levels = sigmas_of(job) or [700.0, 90.0, 9.0, 0.02, 0.0]
    return 3 * sum(math.log(a / b) ** 2 for a, b in zip(levels[:-1], BEST, strict=False))


def row(job: Job) -> Row:
    """What a worker would answer; seeds scatter a little."""
    values = {"unet_calls": unet_calls_of(job), "total_s": 0.1 * unet_calls_of(job)}
    if job.baseline != job.key:
        db = BEST_DB - gap_db(job) + 0.1 * (job.seed % 3)
        values |= {"latents_error_to_baseline": 10 ** (-db / 20), "psnr_to_baseline_db": db + 3}
    return Row(job, "ok", values=values)


def ended(
    wish: Wish, answer: Callable[[Job], Row] = row, told: Callable[[Outcome], None] = lambda outcome: None
) -> tuple[Outcome, Mapping[str, Row]]:
    """A search run to its end by planted rows."""
    outcome, rows = Outcome(), {}
    road = stages(wish, outcome, wish.searches(), told)
    jobs = next(road)
    while jobs:
        rows |= {job.key: answer(job) for job in jobs}
        try:
            jobs = road.send(rows)
        except StopIteration:
            jobs = []
    return outcome, rows


def load_failing(slot: Slot) -> Work:
    """One that fails under every schedule."""

    def work(job: Job, attempt: int, report: Report) -> Row:
        return row(job) if job.baseline == job.key else Row(job, "failed", attempt, "planted")

    return work


def load(slot: Slot) -> Work:
    """A worker that answers with those rows."""

    def work(job: Job, attempt: int, report: Report) -> Row:
        return row(job)

    return work
