"""The cases of `tune`: full runs that a schedule is to come near, parted into searched and held-out ones beforehand."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from svdsweep.config import Job
from svdsweep.config.keys import canonical_part, digest
from svdsweep.config.schedulers import TWO_CALLS
from svdsweep.errors import UserError
from svdsweep.memory.per_run import unet_calls_of

LEAST_HELD_OUT = 3
"""Fewer have no interval."""
SHARE_SEARCHED = 0.25
"""Of few cases, the part that is searched on."""


@dataclass(frozen=True)
class Cases:
    """The full runs, each its own baseline; no picture with a seed is on both sides."""

    searched: list[Job]
    held_out: list[Job]

    @property
    def all(self) -> list[Job]:
        """Both kinds, the searched ones first."""
        return [*self.searched, *self.held_out]


def split(jobs: Sequence[Job], searched: int, held_out: int, seed: int) -> Cases:
    """At most so many cases of each kind from the jobs of a grid, by a `seed`: one job of each picture and noise, for
    others of the same are no independent cases, and as many pictures on both sides as there are.

    Of a small grid a quarter is searched. Raises UserError where too few are left to hold out."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    of_noise: dict[tuple[str, int], list[Job]] = defaultdict(list)
    for job in sorted(jobs, key=lambda job: job.key):
        of_noise[job.image.sha256 or job.image.path, job.seed].append(job)
    of_picture: dict[str, list[Job]] = defaultdict(list)
    for (picture, _), alike in of_noise.items():
        of_picture[picture].append(draw.choice(alike))
    for cases in of_picture.values():
        draw.shuffle(cases)
    pictures = list(of_picture.values())
    draw.shuffle(pictures)
    rounds = range(max(map(len, pictures), default=0))
    in_turn = [cases[i] for i in rounds for cases in pictures if i < len(cases)]
    count = min(searched, max(1, round(len(in_turn) * SHARE_SEARCHED)))
    if len(in_turn) < count + LEAST_HELD_OUT:
        raise UserError(
            f"tune searches on some cases and shows figures of others, so it needs {1 + LEAST_HELD_OUT} pairs of "
            f"picture and seed or more (of those that it shows, an interval needs {LEAST_HELD_OUT}); this grid has "
            f"{len(in_turn)}. Give it more seeds or pictures: seed=range(16), or image=a.png,b.png,c.png seed=0,1,2. "
            "Jobs of the same picture and seed count as one."
        )
    cases = [job.with_baseline(job.key) for job in in_turn]
    return Cases(cases[:count], cases[count : count + held_out])


def check(jobs: Sequence[Job], steps: Sequence[int]) -> None:
    """Raise UserError for a grid that a schedule cannot be searched on."""
    if len({digest([canonical_part(job.model), canonical_part(job.memory)]) for job in jobs}) > 1:
        raise UserError(
            "tune searches for one model under one strategy at a time; this grid has several. Its cases may differ in "
            "image, seed, motion_bucket_id and the like."
        )
    job, full = jobs[0], {job.num_inference_steps for job in jobs}
    decided = (job.memory.denoise_steps, job.memory.sigmas, job.memory.step_cache)
    if decided != (None, "model", "none") or isinstance(job.model.sigmas, tuple) or job.model.final_sigma:
        raise UserError(
            "tune decides by itself how many steps a run makes and where they lie; leave out memory.denoise_steps, "
            "memory.sigmas, memory.step_cache, lists in model.sigmas and model.final_sigma, and presets with them."
        )
    if job.model.scheduler in (*TWO_CALLS, "animatelcm"):
        raise UserError(
            f"model.scheduler={job.model.scheduler}: tune places steps of one call of the UNet each, and not those of "
            f"weights that were distilled at levels of their own. {', '.join(TWO_CALLS)} and animatelcm are left out."
        )
    if len(full) > 1 or max(steps) >= min(map(unet_calls_of, jobs)):
        raise UserError(
            f"--steps {','.join(map(str, steps))} with num_inference_steps={','.join(map(str, sorted(full)))}: the "
            "full run is one number of steps, and has more of them than what is searched. Give num_inference_steps=25, "
            "the default of tune, or more."
        )
