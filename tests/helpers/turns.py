"""A rigorous sweep on a machine that is made up: order, stopping rule, joined rows and verdicts are real."""

import math
import random
from collections.abc import Callable, Mapping
from functools import partial

import made_up

from svdsweep.analysis.strategies import Strategy, strategies
from svdsweep.config import Job, Measure, Memory
from svdsweep.probes.latency import wants_more
from svdsweep.runner.rounds import joined, turn
from svdsweep.runner.scheduler import Scheduler, Turn
from svdsweep.store.rows import Row

RIGOROUS = Measure(name="rigorous", warmup=1, repeats=3, within=0.02, repeats_limit=10, rounds=3)
Machine = Callable[[float], float]
"""How much longer than at first a run takes after a share of the sweep (0–1)."""
Order = Callable[[int, int], Turn]
"""From the seed of a sweep and the number of a round to the turns of that round."""


def steady(_share: float) -> float:
    """A machine that stays as it is."""
    return 1.0


def slowing(share: float) -> float:
    """A machine that is slower by a fifth in the end."""
    return 1 + 0.2 * share


def drawn(seed: int, number: int) -> Turn:
    """The order of svdsweep."""
    return partial(turn, seed, number)


def fixed(_seed: int, _number: int) -> Turn:
    """The same order in each round, the baseline first."""
    return lambda key, has_baselines: 0.0 if has_baselines else 1.0


def each_alone(seed: int, number: int) -> Turn:
    """An order that is drawn for each round alone."""
    return partial(turn, 100 * seed + number, 3)


def rigorous(
    seed: int,
    machine: Machine = steady,
    order: Order = drawn,
    count: int = 4,
    noise: float = 0.01,
    between: float = 0.0,
    ratios: Mapping[int, float] | None = None,
    measure: Measure = RIGOROUS,
) -> list[Strategy]:
    """What is told of the strategies of a sweep, `count` with the baseline, against which they are.

    `noise`: of a run's logarithm; `between`: of all runs of a turn together; `ratios`: what some of the strategies
    take, by number, as a multiple of the baseline."""
    luck, schedule, rows = random.Random(seed), Scheduler(), {}
    memories = [
        Memory(name=f"strategy {i}" if i else "baseline", forward_chunk_size=i or None) for i in range(count)
    ]
    jobs = [made_up.job(memory, measure=measure) for memory in memories]
    done, turns = 0, count * measure.rounds
    for number in range(1, measure.rounds + 1):
        schedule.begin(jobs, order(seed, number))
        while job := schedule.take("a"):
            state = math.exp(luck.gauss(0, between)) * (ratios or {}).get(jobs.index(job), 1.0)
            seconds: list[float] = []
            while wants_more(seconds, measure):
                share = (done + len(seconds) / measure.repeats_limit) / turns
                seconds.append(10 * state * machine(share) * math.exp(luck.gauss(0, noise)))
            rows[job.key] = _next_row(rows.get(job.key), job, seconds)
            done += 1
    return strategies(made_up.in_memory(*rows.values()), metrics=["none"])[1:]


def _next_row(earlier: Row | None, job: Job, seconds: list[float]) -> Row:
    row = made_up.ok(job, seconds)
    return joined(earlier, row) if earlier else row
