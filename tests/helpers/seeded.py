"""Made-up outcomes of picks: rows whose metric is known at few steps and in full."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from svdsweep.config import Job
from svdsweep.memory.per_run import steps_of
from svdsweep.search.bounds import Aim, Bound, aim_of
from svdsweep.search.candidates import candidates_of
from svdsweep.search.ladder import ladder_of
from svdsweep.search.pick import Wish
from svdsweep.store.rows import Row

Values = Callable[[int, int], Mapping[str, float | None]]
"""The columns of a seed's row at a number of steps."""


def values(agreement: float, n: int = 64, column: str = "adj_psnr_db") -> Values:
    """A column whose values at few steps go along with those in full so far (0 to 1), the same at every call."""
    luck = random.Random(7)
    full = [luck.gauss(35, 1) for _ in range(n)]
    few = [agreement * v + (1 - agreement**2) ** 0.5 * luck.gauss(35, 1) for v in full]
    return lambda seed, steps: {column: full[seed] if steps == 25 else few[seed], "total_s": float(steps)}


def jobs(n: int = 64, steps: int = 25, **settings: object) -> list[Job]:
    """The candidates, a seed each."""
    return [Job(seed=seed, num_inference_steps=steps, **settings) for seed in range(n)]


def wish(
    by: str = "adj_psnr_db",
    n: int = 64,
    keep: int = 4,
    bounds: Sequence[Bound] = (),
    budget: float | None = 0.45,
    steps: int = 25,
) -> Wish:
    """A wish for the highest of a column."""
    candidates = candidates_of(jobs(n, steps), keep)
    aim: Aim = aim_of(by, "higher", candidates.jobs[0])
    return Wish(candidates, aim, bounds, keep, ladder_of(candidates, keep, budget))


class Runs:
    """Runs jobs at once and remembers which; `ran` has the steps of each stage's new jobs."""

    def __init__(self, of: Values, broken: Iterable[tuple[int, int]] = ()) -> None:
        self.of, self.broken = of, set(broken)
        self.rows: dict[str, Row] = {}
        self.ran: list[list[int]] = []

    def __call__(self, jobs: Sequence[Job]) -> dict[str, Row]:
        """The rows of all jobs so far, those of `jobs` among them."""
        new = [job for job in jobs if job.key not in self.rows]
        self.ran += [[steps_of(job) for job in new]] if new else []
        self.rows |= {job.key: self._row(job) for job in new}
        return dict(self.rows)

    def _row(self, job: Job) -> Row:
        if (job.seed, steps_of(job)) in self.broken:
            return Row(job, "failed", error="broken")
        return Row(job, "ok", values={"video": f"videos/{job.key}.mp4", **self.of(job.seed, steps_of(job))})
