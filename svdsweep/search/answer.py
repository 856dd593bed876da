"""What a pick says: its sentences, costs against the full sweep, the fate of each candidate; for terminal and page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from svdsweep.search.bounds import value_of
from svdsweep.search.chance import Chance, chance
from svdsweep.search.pick import Choice, excess, ranked
from svdsweep.store.pick import Pick, Road, Stage
from svdsweep.store.rows import Row
from svdsweep.terminal import cell

NEAREST = 3
"""Candidates that are named where none meets the bounds."""


@dataclass(frozen=True)
class Cost:
    """UNet calls and seconds (`total_s` of the rows) of a pick, and of the sweep of all candidates in full."""

    calls: int
    full_calls: int
    seconds: float | None
    full_seconds: float | None
    """All candidates at the mean of those that ran in full; None where none did."""

    @property
    def share(self) -> float:
        """The pick's UNet calls over those of the full sweep."""
        return self.calls / self.full_calls

    def __str__(self) -> str:
        calls = f"{self.calls} of the full sweep's {self.full_calls} UNet calls ({100 * self.share:.0f} %)"
        if self.seconds is None or self.full_seconds is None:
            return calls
        return f"{calls}, {self.seconds:.0f} of about {self.full_seconds:.0f} s"


def stages_of(choice: Choice) -> list[Stage]:
    """The few steps and the full run, each with its runs."""
    c = choice.wish.candidates
    steps = {choice.wish.ladder.few: choice.few, c.steps: choice.full}
    return [
        Stage(n, c.calls(n), sum(row is not None for row in rows)) for n, rows in steps.items() if any(rows)
    ]


def cost_of(choice: Choice) -> Cost:
    """What the choice took, its pilot included."""
    calls = sum(stage.calls * stage.runs for stage in stages_of(choice))
    full = [s for row in choice.full if (s := value_of(row, "total_s")) is not None]
    few = [s for row in choice.few if (s := value_of(row, "total_s")) is not None]
    c = choice.wish.candidates
    whole = len(c.jobs) * sum(full) / len(full) if full else None
    return Cost(calls, c.full_calls, sum(full) + sum(few) if full else None, whole)


def chance_of(choice: Choice) -> Chance | None:
    """The finalists beside random draws: who leads at few steps and ran in full counts for itself, the pilot's others
    for all whom nobody ran in full."""
    wish, name = choice.wish, choice.wish.aim.column.name
    values = {i: v for i, row in enumerate(choice.full) if (v := value_of(row, name)) is not None}
    led = ranked(wish.aim, choice.few)[: wish.ladder.full_runs]
    sample = [] if choice.in_full else [i for i in choice.pilot if i in values and i not in led]
    known = [values[i] for i in values if i not in sample]
    random_runs = cost_of(choice).calls // max(1, wish.candidates.calls(wish.candidates.steps))
    finalists = [values[i] for i in choice.finalists]
    n = len(wish.candidates.jobs)
    return chance(finalists, known, [values[i] for i in sample], n, random_runs, wish.aim.higher)


def fates(choice: Choice) -> list[str]:
    """Where and why each candidate was left out; empty for finalists."""
    wish, steps = choice.wish, choice.wish.candidates.steps
    few_place = {i: place for place, i in enumerate(ranked(wish.aim, choice.few), 1)}
    full_place = {i: place for place, i in enumerate(ranked(wish.aim, choice.full), 1)}
    told = []
    for i, row in enumerate(choice.full):
        if i in choice.finalists:
            told.append("")
        elif row is None and choice.few[i] is None:
            told.append("not run")
        elif row is None and i not in few_place:
            told.append(_no_value(choice, choice.few[i], wish.ladder.few))
        elif row is None:
            told.append(f"left out at {wish.ladder.few} steps, {_nth(few_place[i])} of {len(few_place)}")
        elif i not in full_place:
            told.append(_no_value(choice, row, steps))
        elif outside := _outside(choice, row):
            told.append(f"in full, but {outside}")
        else:
            told.append(f"in full, {_nth(full_place[i])} of {len(full_place)}")
    return told


def _no_value(choice: Choice, row: Row | None, steps: int) -> str:
    ended = row.status if row else "not run"
    return f"no {choice.wish.aim.column.name} at {steps} steps ({ended})"


def _outside(choice: Choice, row: Row) -> str:
    """The bounds that a row does not meet, with its values; empty where it meets all."""
    missed = [b for b in choice.wish.bounds if b.excess(value_of(row, b.column))]
    return " and ".join(f"{b.column} is {cell(value_of(row, b.column))}" for b in missed)


def _nth(place: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0, "th")
    return f"{place}{ending}"


def sentences(choice: Choice, again: str) -> list[str]:
    """The answer in a few sentences; `again` is the command that runs all candidates in full."""
    wish = choice.wish
    by, cost = wish.aim.column.name, cost_of(choice)
    if not any(wish.aim.merit(row) is not None for row in (*choice.few, *choice.full)):
        statuses = ", ".join(sorted({row.status for row in (*choice.few, *choice.full) if row}))
        return [
            f"None of the runs ({statuses}) has a {by}, so there is nothing to pick by.",
            f"Cost: {cost}.",
        ]
    told = [_of_the_pilot(choice)]
    if choice.refused:
        return [*told, _offer(choice, again)]
    if not choice.finalists:
        return [*told, f"Cost: {cost}.", _none_within(choice)]
    if choice.outside:
        told.append(
            f"By the pilot {len(choice.outside)} seeds are foreseen outside {', '.join(map(str, wish.bounds))}: "
            "the others went first."
        )
    if len(choice.finalists) < wish.keep:
        bounds = f" and meet {', '.join(map(str, wish.bounds))}" if wish.bounds else ""
        told.append(f"Only {len(choice.finalists)} of {wish.keep} have a {by}{bounds}.")
    told.append(f"Cost: {cost}{'' if choice.in_full else ', the pilot included'}.")
    if apart := chance_of(choice):
        told.append(_of_chance(choice, apart))
    return told


def _offer(choice: Choice, again: str) -> str:
    """What a pick that pruned nothing has spent, and what all in full would take more."""
    c, few, cost = choice.wish.candidates, choice.wish.ladder.few, cost_of(choice)
    left = cost.full_calls - sum(row is not None for row in choice.full) * c.calls(c.steps)
    seconds = f" (about {left / cost.full_calls * cost.full_seconds:.0f} s)" if cost.full_seconds else ""
    return (
        f"So nothing was pruned and nothing picked; {cost} were spent. All {len(c.jobs)} in full, of which the pilot's "
        f"are done, take {left} UNet calls more{seconds}: {again}. More steps in the first stage may tell more "
        f"(--few {min(2 * few, c.steps - 1)}); fewer seeds, drawn at random, are as good a pick as any by these."
    )


def _of_the_pilot(choice: Choice) -> str:
    """What the pilot, or all, say of the few steps."""
    wish, a = choice.wish, choice.agreement
    few, steps = wish.ladder.few, wish.candidates.steps
    who = f"{a.n} seeds" if choice.in_full else f"the {a.n} seeds of the pilot"
    if choice.in_full and a.correlation is None:
        return f"All {len(wish.candidates.jobs)} ran in full; nothing was pruned."
    ranks = f"{few} of {steps} steps rank {who} by {wish.aim.column.name}"
    if a.correlation is None:
        return (
            f"Whether {ranks} as all steps do cannot be told: {a.n} of the pilot's {len(choice.pilot)} have a value at "
            "both, or all have the same."
        )
    interval = f"rank correlation {a.correlation:.2f}, 95 % interval {a.low:.2f} to {a.high:.2f}"
    if choice.in_full:
        return f"All {len(wish.candidates.jobs)} ran in full. {ranks} with {interval}."
    if a.holds:
        return f"{ranks} as all steps do ({interval})."
    why = (
        "the interval holds 0" if a.high is not None and a.high > 0 else "they rank them the other way round"
    )
    return f"{ranks} no better than chance: {interval}; {why}, so few steps may not prune."


def _of_chance(choice: Choice, apart: Chance) -> str:
    aim, k = choice.wish.aim, len(choice.finalists)
    unit, n = aim.column.unit, len(choice.wish.candidates.jobs)
    best = (
        ""
        if choice.in_full
        else f", and the best {k} of {apart.random_runs} random ones, whose full runs cost as much as this pick, about "
        f"{apart.random_best:.4g} {unit}"
    )
    return (
        f"The finalists' mean {aim.column.name} is {apart.mean:.4g} {unit}. A random draw of {k} of the {n}"
        f"{', whatever the bounds,' if choice.wish.bounds else ''} has "
        f"{apart.drawn_mean:.4g} ± {apart.drawn_sd:.2g} {unit} (so good by chance: p = {apart.p:.2g}){best}."
    )


def _none_within(choice: Choice) -> str:
    """Which candidates come nearest to the bounds."""
    wish, c = choice.wish, choice.wish.candidates
    if not wish.bounds:
        return f"No candidate has a {wish.aim.column.name}, so there is nothing to pick from."
    ran = [(i, row) for i, row in enumerate(choice.full) if row is not None and row.status == "ok"]
    near = sorted(ran, key=lambda pair: (excess(wish.bounds, pair[1]), pair[0]))[:NEAREST]
    named = "; ".join(f"{c.names[i]} ({_outside(choice, row)})" for i, row in near)
    return (
        f"None of the {len(ran)} that ran in full meets {', '.join(map(str, wish.bounds))}. Nearest are {named}. Widen "
        "the bound, or ask for another motion_bucket_id or noise_aug_strength."
    )


def record(choice: Choice, again: str) -> Pick:
    """The choice as `pick.json` keeps it."""
    wish, stages = choice.wish, stages_of(choice)
    column, roads = wish.aim.column, []
    parts = [rows for rows in (choice.few, choice.full) if any(rows)]
    for i, fate in enumerate(fates(choice)):
        rows = [part[i] for part in parts]
        keys = [row.key if row else None for row in rows]
        roads.append(Road(wish.candidates.names[i], keys, [value_of(r, column.name) for r in rows], fate))
    told = sentences(choice, again)
    return Pick(column.name, column.unit, wish.aim.higher, stages, roads, choice.finalists, told)


def document(choice: Choice, again: str) -> dict[str, Any]:
    """The choice for `--json`."""
    cost, apart = cost_of(choice), chance_of(choice)
    a: Sequence[float | None] = (choice.agreement.correlation, choice.agreement.low, choice.agreement.high)
    return {
        "pruned": not choice.refused and not choice.in_full,
        "keep": choice.wish.keep,
        "bounds": list(map(str, choice.wish.bounds)),
        "pilot": {"n": choice.agreement.n, **dict(zip(("correlation", "low", "high"), a, strict=True))},
        "cost": asdict(cost),
        "chance": asdict(apart) if apart else None,
        **asdict(record(choice, again)),
    }
