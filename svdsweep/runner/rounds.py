"""Rounds: all strategies one after the other, then all of them again in another order, so that a machine that changes
is fair to each.

Every round of a job is an attempt of its own, whose row takes over the repeats of the rounds before. No torch."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from svdsweep.config import Job
from svdsweep.probes.latency import ROUND, time_columns
from svdsweep.probes.throttling import PER_RUN, SLOWED, state_columns
from svdsweep.store.columns import STAGES
from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import Row

Provenance = Mapping[str, Scalar]
REPEATED = ("total_s", *(f"{stage}_s" for stage in STAGES), "step_s")
"""The series with one entry a repeat."""
DEVICE = ("device", "gpu", "host")
"""The provenance that rounds must share."""
ORDER_SEED = "order_seed"
"""The column with the seed of the rounds' order."""


def turn(seed: int, number: int, pipeline_key: str, has_baselines: bool = False) -> float:
    """When a strategy's pipeline has its turn in a round, the lowest first: a random order, of which every second round
    is the mirror image of the one before. Baselines begin the first round, for their frames are compared with.

    Who is early in one round of such a pair is late in the other, so that a machine that slows down steadily costs all
    the same. Orders drawn for each round alone would not do: of two strategies the same one is first in three rounds
    with a chance of 1 in 4."""
    pair, is_second = divmod(number - 1, 2)
    place = random.Random(f"{seed} {pair} {pipeline_key}").random()  # noqa: S311 (no secret)
    if has_baselines and not pair:
        place -= 1
    return -place if is_second else place


def order_seed(rows: Iterable[Row], asked: int | None) -> int:
    """The seed by which the rounds of these rows were ordered, so that what has begun goes on; else the one that is
    `asked` for, else a new one."""
    seeds = (row.values.get(ORDER_SEED) for row in rows)
    new = random.randrange(2**32) if asked is None else asked  # noqa: S311 (no secret)
    return next((seed for seed in seeds if isinstance(seed, int)), new)


def further_rounds(jobs: Iterable[Job], rows: Mapping[str, Row]) -> list[Job]:
    """The jobs that are due for another round: `measure.rounds` asks for more than their rows hold, and it is
    affordable: to load, compile and warm up again takes no longer than what is then measured, over all jobs that
    share the pipeline. Those with the baselines of jobs that are due come too, to be compared with in turn."""
    groups: dict[str, list[tuple[Job, Row]]] = defaultdict(list)
    for job in jobs:
        if (row := rows.get(job.key)) and _lacks_rounds(job, row):
            groups[job.pipeline_key].append((job, row))
    wanted = _affordable_with_baselines(groups.values())
    due = (group for group in groups.values() if wanted.intersection(job.key for job, _ in group))
    return [job for group in due for job, _ in group]


def _affordable_with_baselines(groups: Iterable[list[tuple[Job, Row]]]) -> set[str]:
    affordable = (job for group in groups if _affordable(row for _, row in group) for job, _ in group)
    return {key for job in affordable for key in (job.key, job.baseline)}


def _lacks_rounds(job: Job, row: Row) -> bool:
    return row.status == "ok" and begun(row) < job.measure.rounds and _can_go_on(row)


def _can_go_on(row: Row) -> bool:
    """Whether a row, which may be a stranger's, has what another round is joined with: seconds of every repeat."""
    series = [row.series[name] for name in (*REPEATED, ROUND) if name in row.series]
    numbers = [n for each in series for part in each for n in (part if isinstance(part, list) else [part])]
    return bool(row.series.get("total_s")) and all(n is not None and n > 0 for n in numbers)


def begun(row: Row) -> int:
    """How many rounds of a job have been begun."""
    rounds = row.values.get("rounds")
    return rounds if isinstance(rounds, int) else 1


def joined(earlier: Row, later: Row) -> Row:
    """The row of a job after another round: the repeats of both, with everything that follows from them anew.

    Peaks are the larger ones; what is judged of the frames is that of the first round, whose frames are the same. A
    round that failed, or ran on another device, is told in a note and adds nothing."""
    number = begun(earlier) + 1
    if reason := _unfit(earlier, later):
        note = f"round {number} is missing: {reason}"
        values = {**earlier.values, "rounds": number}
        return replace(earlier, attempt=later.attempt, values=values, notes=[*earlier.notes, note])
    both = [name for name in REPEATED if name in earlier.series and name in later.series]
    series = {name: [*earlier.series[name], *later.series[name]] for name in both}
    before, now = len(earlier.series["total_s"]), len(later.series["total_s"])
    series[ROUND] = [*earlier.series.get(ROUND, [1] * before), *[number] * now]
    series |= _of_the_gpu(earlier, later)
    times = time_columns(series, later.job.num_frames, later.job.measure.first_look)
    own = {note for row in (earlier, later) for note in time_columns(row.series, row.job.num_frames).notes}
    state = state_columns(series, *(row.values.get("throttle") for row in (earlier, later)))
    notes = [
        n for n in dict.fromkeys([*earlier.notes, *later.notes]) if n not in own and not n.startswith(SLOWED)
    ]
    anew = {**_of_both(earlier, later), **times.values, **state.values, "rounds": number}
    series = {**later.series, **earlier.series, **series}
    notes += [*times.notes, *state.notes]
    return replace(later, values={**later.values, **earlier.values, **anew}, series=series, notes=notes)


def _of_the_gpu(earlier: Row, later: Row) -> dict[str, list[Any]]:
    """What was seen of the GPU in each run of two rounds; None for those of a round, maybe a stranger's, without it."""
    rounds = [(row.series, len(row.series["total_s"])) for row in (earlier, later)]
    names = [name for name in PER_RUN if any(name in series for series, _ in rounds)]
    return {
        name: [entry for series, runs in rounds for entry in [*series.get(name, []), *[None] * runs][:runs]]
        for name in names
    }


def _affordable(rows: Iterable[Row]) -> bool:
    prepared_s = measured_s = 0.0
    for row in rows:
        untimed = (row.values.get(name) for name in ("load_s", "compile_s", "warmup_s"))
        prepared_s += sum(s for s in untimed if isinstance(s, float))
        rounds = set(row.series.get(ROUND, [1]))
        measured_s += sum(row.series.get("total_s", [])) / len(rounds)
    return prepared_s <= measured_s


def _unfit(earlier: Row, later: Row) -> str:
    """Why a round's repeats cannot stand beside the earlier ones; empty if they can."""
    if later.status != "ok":
        where = f" in {later.phase}" if later.phase else ""
        return f"it ended as {later.status}{where} ({later.error.splitlines()[0] if later.error else 'no message'})"
    for name in differing(later.provenance, earlier.provenance, DEVICE):
        return f"it ran on {name} {later.provenance[name]}, the others on {earlier.provenance[name]}"
    return ""


def differing(one: Provenance, other: Provenance, names: Iterable[str]) -> list[str]:
    """The names under which two provenances differ; what is unknown differs from nothing."""
    both = (name for name in names if one.get(name) is not None and other.get(name) is not None)
    return [name for name in both if one[name] != other[name]]


def _of_both(earlier: Row, later: Row) -> dict[str, Scalar]:
    """What becomes of two rounds' values: the larger peak, the mean energy of a run, the sum of the loads."""
    values: dict[str, Scalar] = {}
    for name in earlier.values.keys() & later.values.keys():
        there, here = earlier.values[name], later.values[name]
        if not isinstance(here, int | float) or not isinstance(there, int | float):
            continue
        if name.endswith("_peak_gib"):
            values[name] = max(here, there)
        elif name == "energy_j":
            rounds = begun(earlier)
            values[name] = (rounds * there + here) / (rounds + 1)
        elif name == "loads":
            values[name] = there + here
    return values
