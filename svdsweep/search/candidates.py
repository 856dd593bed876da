"""What a pick chooses among: the jobs of a grid, each also at fewer steps. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.memory.per_run import caches_steps, schedule_of, steps_of, unet_calls_of
from svdsweep.store.columns import asked_for, varying
from svdsweep.terminal import SHORT, cell

MAY_VARY = (
    *("seed", "motion_bucket_id", "noise_aug_strength", "fps"),
    *("min_guidance_scale", "max_guidance_scale"),
)
"""In what the candidates of one pick may differ: numbers of other pictures, sizes or strategies are not compared."""
LEAST_STEPS = 4
"""Of fewer steps nothing can be spared."""


@dataclass(frozen=True)
class Candidates:
    """The jobs of one pick as they run in full, and how each is called in tables (`seed 5`)."""

    jobs: list[Job]
    names: list[str]

    @property
    def steps(self) -> int:
        """Denoising steps of a full run."""
        return steps_of(self.jobs[0])

    @property
    def full_calls(self) -> int:
        """UNet calls of all candidates in full."""
        return sum(map(unet_calls_of, self.jobs))

    def at(self, steps: int) -> list[Job]:
        """The candidates' jobs at so many steps."""
        return [with_steps(job, steps) for job in self.jobs]

    def calls(self, steps: int) -> int:
        """UNet calls of one run of so many steps."""
        return unet_calls_of(with_steps(self.jobs[0], steps))


def candidates_of(jobs: Sequence[Job], keep: int) -> Candidates:
    """The candidates of a grid. Raises UserError where there is nothing to choose, or no fewer steps to try."""
    several = [name for name in varying(jobs) if name not in MAY_VARY]
    if several:
        raise UserError(
            f"A pick compares videos that differ in their seed (or in {', '.join(MAY_VARY[1:])}), and these jobs "
            f"differ in {', '.join(several)} too. Give each of those one value, and run a pick for each."
        )
    if len(jobs) < 2:
        raise UserError(
            'One job is no choice: a pick wants several, as in `svdsweep pick "seed=range(64)" --by mc_flicker_255`.'
        )
    if keep >= len(jobs):
        raise UserError(
            f"--keep {keep} of {len(jobs)} jobs leaves none out: keep fewer, or give more seeds; `svdsweep` alone runs "
            "them all."
        )
    _check_steps(jobs[0], len(jobs))
    asked = [name for name in varying(jobs) if name in MAY_VARY]
    names = [
        ", ".join(f"{SHORT.get(n, n)} {cell(asked_for(job)[n])}" for n in asked) or job.key for job in jobs
    ]
    return Candidates([job.with_baseline("") for job in jobs], names)


def _check_steps(first: Job, count: int) -> None:
    """Raise UserError where such jobs cannot run at fewer steps."""
    if caches_steps(first):
        raise UserError(
            f"memory={first.memory.name} caches steps, and what it spares hangs on their number: pick under another "
            "strategy, then run the finalists' seeds under this one."
        )
    if isinstance(schedule_of(first), tuple):
        raise UserError(
            "model.sigmas is a list, which cannot be told at fewer steps: a pick takes a schedule by its name "
            "(model, karras, exponential, ays)."
        )
    if (steps := steps_of(first)) < LEAST_STEPS:
        raise UserError(
            f"At {steps} steps there are none to spare: `svdsweep` runs all {count} jobs, and results.csv ranks "
            "them."
        )


def with_steps(job: Job, steps: int) -> Job:
    """The same job at another number of steps, set where its strategy has them."""
    if steps == steps_of(job):
        return job
    if job.memory.denoise_steps:
        return replace(job, memory=replace(job.memory, denoise_steps=steps))
    return replace(job, num_inference_steps=steps)
