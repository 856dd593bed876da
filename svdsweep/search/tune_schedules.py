"""Noise levels as a search sees them: gaps of log sigma, by CMA-ES from those of Align Your Steps on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svdsweep.config import Job, Memory
from svdsweep.errors import UserError
from svdsweep.memory.sigmas import SIGMA_MAX, SIGMA_MIN, levels
from svdsweep.store.rows import Row

SPREAD = 0.3
"""Standard deviation of the first generation, of the logarithm of a gap."""
ERROR = "latents_error_to_baseline"
NARROWEST = 0.01
"""The least step in log sigma: steps of equal levels are none."""
LEAST_ERROR = 1e-6
"""What float32 tells apart; equal latents have 120 dB."""
SLACK_DB = 0.3
"""By so much a single trial may lie above the middle of a search by chance."""
Levels = tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """A schedule that was tried on the searched cases: `nearness_db` is the mean over them, None while unknown or where
    a case did not end well."""

    steps: int
    number: int
    generation: int
    levels: Levels
    jobs: tuple[Job, ...]
    nearness_db: float | None = None


def nearness_db(row: Row | None) -> float | None:
    """How near a run came to its baseline: its latents over their difference, in dB; higher is nearer."""
    error = row.values.get(ERROR) if row and row.status == "ok" else None
    return -20 * math.log10(max(error, LEAST_ERROR)) if isinstance(error, float) else None


def gaps_of(schedule: Sequence[float]) -> NDArray[np.float64]:
    """The logarithms of the steps in log sigma between falling levels (steps + 1, the last of them 0): steps - 1."""
    gaps: NDArray[np.float64] = np.log(-np.diff(np.log(np.asarray(schedule[:-1], float))))
    return gaps


def levels_of(
    gaps: Sequence[float] | NDArray[np.float64], high: float = SIGMA_MAX, low: float = SIGMA_MIN
) -> Levels:
    """The way back, from `high` on, whatever the gaps: they fall, and where they would end below `low`, all gaps are
    narrowed. Five digits, so that a preset is read as it was tried, and equal on every machine."""
    whole = math.log(high / low)
    widths = np.exp(np.asarray(gaps, float).clip(math.log(NARROWEST), math.log(whole)))
    widths *= min(1.0, whole / float(widths.sum()))
    sigmas = [high, *(high * np.exp(-np.cumsum(widths))).tolist()]
    return (*(float(f"{sigma:.5g}") for sigma in sigmas), 0.0)


def published(steps: int) -> Levels:
    """Align Your Steps interpolated to that many steps."""
    return tuple(levels("ays", steps, 0.0, SIGMA_MIN, SIGMA_MAX))


def population_of(steps: int) -> int:
    """Trials of a generation: CMA-ES's rule for as many unknowns (Hansen 2016, arXiv:1604.00772)."""
    return 4 + int(3 * math.log(steps - 1))


def under(case: Job, name: str, **knobs: Any) -> Job:
    """A case with few steps, compared with its full run."""
    memory: Memory = replace(case.memory, name=name, **knobs)
    return replace(case, memory=memory, baseline=case.key)


@dataclass
class Search:
    """The search for one number of steps: generations of trials, each decided by the rows of those before.

    It keeps nothing on the disk: with equal rows it takes the same way again. Raises UserError where no trial of a
    generation ends well."""

    steps: int
    cases: Sequence[Job]
    seed: int = 0
    trials: list[Trial] = field(default_factory=list)
    generation: int = 0
    _cma: Any = None
    _asked: list[NDArray[np.float64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        from cmaes import CMA

        start, population = gaps_of(published(self.steps)), population_of(self.steps)
        self._cma = CMA(start, SPREAD, seed=self.seed, population_size=population)

    def ask(self) -> list[Trial]:
        """The trials of the next generation; the very first is Align Your Steps itself."""
        self._asked = [self._cma.ask() for _ in range(population_of(self.steps))]
        if not self.generation:
            self._asked[0] = gaps_of(published(self.steps))
        return [self._trial(gaps, i) for i, gaps in enumerate(self._asked)]

    def tell(self, asked: Sequence[Trial], rows: Mapping[str, Row]) -> None:
        """Take the rows of a generation; a trial with a case that did not end well is its worst. Raises UserError when
        none ended well."""
        tried = [judged(trial, rows) for trial in asked]
        self.trials += tried
        if all(trial.nearness_db is None for trial in tried):
            raise UserError(
                f"No schedule of {self.steps} steps could be compared with the full runs: "
                f"{why(tried[0], rows)}. Mend that, and the same command goes on."
            )
        costs = [math.inf if t.nearness_db is None else -t.nearness_db for t in tried]
        self._cma.tell(list(zip(self._asked, costs, strict=True)))
        self.generation += 1

    def middle(self) -> Trial:
        """The middle of what the search has narrowed to, which leans less on the searched cases than its best trial."""
        return self._trial(self._cma.mean, 0)

    def choose(self, middle: Trial, rows: Mapping[str, Row]) -> Trial:
        """The schedule to show: the middle, unless a trial is nearer on the searched cases by more than `SLACK_DB`."""
        tried = judged(middle, rows)
        self.trials.append(tried)
        best = self.best
        if tried.nearness_db is None or (best.nearness_db or 0.0) > tried.nearness_db + SLACK_DB:
            return best
        return tried

    @property
    def best(self) -> Trial:
        """The nearest trial so far."""
        return max((t for t in self.trials if t.nearness_db is not None), key=lambda t: t.nearness_db or 0.0)

    def _trial(self, gaps: NDArray[np.float64], place: int) -> Trial:
        number, schedule = len(self.trials) + place, levels_of(gaps)
        name = f"tune_{self.steps}_{number:03}"
        jobs = tuple(under(case, name, sigmas=schedule) for case in self.cases)
        return Trial(self.steps, number, self.generation, schedule, jobs)


def judged(trial: Trial, rows: Mapping[str, Row]) -> Trial:
    """A trial with what its rows tell."""
    near = [nearness_db(rows.get(job.key)) for job in trial.jobs]
    known = [db for db in near if db is not None]
    return replace(trial, nearness_db=sum(known) / len(near) if len(known) == len(near) else None)


def why(trial: Trial, rows: Mapping[str, Row]) -> str:
    """Why a trial's first case without a figure has none."""
    for job in trial.jobs:
        row = rows.get(job.key)
        if nearness_db(row) is None:
            told = row.error.splitlines()[0] if row and row.error else "its latents were not compared"
            return f"{job.key} {row.status if row else 'has no row'} ({told})"
    return "nothing is wrong"
