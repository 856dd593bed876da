"""The stages of `tune`, each decided by the rows of those before: full runs, generations, and the held-out cases."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.search.tune_cases import Cases
from svdsweep.search.tune_schedules import Search, Trial, population_of, under
from svdsweep.store.rows import Row

TUNED, AYS, EULER = "tuned", "ays", "euler"
Stages = Generator[list[Job], Mapping[str, Row], None]


@dataclass(frozen=True)
class Wish:
    """What is searched: schedules of so many `steps`, by generations of `trials` in all, drawn by a `seed`."""

    cases: Cases
    steps: tuple[int, ...]
    trials: int
    seed: int = 0

    @property
    def generations(self) -> int:
        """Those of all searches, which go side by side."""
        return max(1, round(self.trials / max(map(population_of, self.steps))))

    def searches(self) -> list[Search]:
        """A search for each number of steps, at its beginning."""
        return [Search(steps, self.cases.searched, self.seed) for steps in self.steps]


@dataclass
class Outcome:
    """What came of it, filled in as the stages end: everything by the number of steps."""

    trials: dict[int, list[Trial]] = field(default_factory=dict)
    chosen: dict[int, Trial] = field(default_factory=dict)
    shown: dict[int, dict[str, list[Job]]] = field(default_factory=dict)
    """The runs of the held-out cases under each schedule that is shown, in the order of the cases."""


def stages(
    wish: Wish, outcome: Outcome, searches: Sequence[Search], told: Callable[[Outcome], None]
) -> Stages:
    """Yield the jobs of one stage after the other and be sent the rows so far; `outcome` is filled in, and `told` after
    each generation. Raises UserError where the full runs fail."""
    rows = yield wish.cases.all
    _require(wish.cases.all, rows)
    for _ in range(wish.generations):
        asked = [search.ask() for search in searches]
        rows = yield [job for trials in asked for trial in trials for job in trial.jobs]
        for search, trials in zip(searches, asked, strict=True):
            search.tell(trials, rows)
            outcome.trials[search.steps] = search.trials
        told(outcome)
    middles = [search.middle() for search in searches]
    rows = yield [job for trial in middles for job in trial.jobs]
    for search, trial in zip(searches, middles, strict=True):
        outcome.chosen[search.steps] = search.choose(trial, rows)
        outcome.shown[search.steps] = shown(outcome.chosen[search.steps], wish.cases.held_out)
    told(outcome)
    yield list(_jobs(outcome))


def shown(trial: Trial, cases: Sequence[Job]) -> dict[str, list[Job]]:
    """The held-out cases under the schedule that was found, Align Your Steps and plain Euler, at equal calls."""
    n = trial.steps
    return {
        TUNED: [under(case, f"{TUNED}_{n}", sigmas=trial.levels) for case in cases],
        AYS: [under(case, f"{AYS}_{n}", denoise_steps=n, sigmas="ays") for case in cases],
        EULER: [under(case, f"{EULER}_{n}", denoise_steps=n) for case in cases],
    }


def _jobs(outcome: Outcome) -> Iterator[Job]:
    for roads in outcome.shown.values():
        for jobs in roads.values():
            yield from jobs


def _require(cases: Sequence[Job], rows: Mapping[str, Row]) -> None:
    """Raise UserError where a full run is not there to be compared with."""
    for case in cases:
        row = rows.get(case.key)
        if row is None or row.status != "ok":
            told = (
                f"{row.status}: {row.error.splitlines()[0] if row.error else 'no reason given'}"
                if row
                else "no row"
            )
            raise UserError(
                f"The full run of a case did not end well ({case.key}, {case.image.name}, seed {case.seed}; {told}). "
                "Schedules are compared with it, so the search cannot begin; `svdsweep show` tells more, and the same "
                "command tries it again."
            )
