"""Each memory strategy against its baseline, the ones that no other beats, and the best for a given card."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from svdsweep.analysis.pairs import Estimate, after_holm, compare_latency, compare_metric, compare_peaks
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import first_measured, numeric
from svdsweep.analysis.verdicts import confirmed, judged
from svdsweep.metrics import COLUMNS
from svdsweep.store.rows import STATUSES

BUDGETS_GIB = (6, 8, 12, 16, 24, 48, 80)
CLASSES = ("baseline", "exact", "equivalent", "near", "different")
"""How far a strategy's frames are from its baseline's, the worst last."""
TAKEN = ("vram_process_peak_gib", "vram_reserved_peak_gib", "vram_allocated_peak_gib")
"""What a job took from the card: the first of these that was counted tells it best."""
BASELINE = "baseline"
NOT_COMPARED = frozenset(name for name in COLUMNS if name.endswith("_to_baseline") or "_to_baseline_" in name)
"""Metrics that are comparisons already."""


Place = tuple[str, str, str]
"""Workload, machine and strategy."""
Sides = tuple[pd.DataFrame, pd.DataFrame]
"""The lines of a strategy's jobs, and those of their baselines."""


@dataclass(frozen=True)
class Strategy:
    """A strategy on one machine and workload: how its jobs ended, what they took, and how that compares."""

    name: str
    workload: str
    machine: str
    statuses: dict[str, int]
    total_s: float | None
    """Median over its jobs."""
    memory_gib: float | None
    """Largest peak of its jobs, of the kind that `Sweep.memory_column` names; of jobs out of memory, what they held."""
    reserved_gib: float | None
    """Largest of what the process took from the card, else of what the allocator did."""
    psnr_db: float | None
    """The worst against a baseline; 100 when bit-equal."""
    equality: str | None
    """The worst class."""
    latency: Estimate
    memory: Estimate
    metrics: dict[str, Estimate]
    faults: int
    """Jobs whose frames differ though the strategy is exact."""

    @property
    def complete(self) -> bool:
        """Whether every job of it ended well."""
        return set(self.statuses) == {"ok"}


def strategies(sweep: Sweep, metrics: Sequence[str] = ()) -> list[Strategy]:
    """Every strategy of a sweep, by workload and machine, the baseline first, then by latency. `metrics` are compared
    too (those of the catalogue that the rows have, if none are named)."""
    table = sweep.table
    if table.empty:
        return []
    names = [name for name in metrics or COLUMNS if name in table and name not in NOT_COMPARED]
    by_key = table[table["status"] == "ok"].set_index("key")
    by_place = table.groupby(["workload", "machine", "memory"], sort=False)
    groups: dict[Place, pd.DataFrame] = {(str(w), str(m), str(n)): group for (w, m, n), group in by_place}
    sides = {place: _sides(place[-1], group, by_key) for place, group in groups.items()}
    latencies = _latencies(sides)
    return sorted(
        (_strategy(sweep, at, group, sides[at], latencies[at], names) for at, group in groups.items()),
        key=lambda s: (s.workload, s.machine, s.name != BASELINE, s.total_s is None, s.total_s or 0),
    )


def _sides(name: str, group: pd.DataFrame, by_key: pd.DataFrame) -> Sides:
    """The jobs of a strategy that have a baseline, and those baselines, line by line."""
    ok = group[group["status"] == "ok"]
    pairs = paired(ok, by_key) if name != BASELINE else ok.iloc[:0].assign(partner=None)
    return pairs, by_key.loc[pairs["partner"]] if len(pairs) else by_key.iloc[:0]


def _latencies(sides: Mapping[Place, Sides]) -> dict[Place, Estimate]:
    """The latency of each strategy against its baseline, judged with all others on that workload and machine."""
    families: dict[tuple[str, ...], dict[Place, Estimate]] = defaultdict(dict)
    for place, (mine, base) in sides.items():
        families[place[:2]][place] = compare_latency(mine, base, took_turns=True)
    told = {place: e for family in families.values() for place, e in judged(family).items()}
    return {place: confirmed(e, *sides[place], took_turns=True) for place, e in told.items()}


def _strategy(
    sweep: Sweep, place: Place, group: pd.DataFrame, sides: Sides, latency: Estimate, metrics: list[str]
) -> Strategy:
    (workload, machine, name), (pairs, base) = place, sides
    ok = group[group["status"] == "ok"]
    counts = group["status"].value_counts()
    peak = sweep.memory_column
    classes = set(ok["equality"].dropna()) if "equality" in ok else set()
    return Strategy(
        name=name,
        workload=workload,
        machine=machine,
        statuses={status: int(counts[status]) for status in STATUSES if status in counts},
        total_s=_number(ok, "total_s", "median"),
        memory_gib=_number(group, peak, "max"),
        reserved_gib=_number(ok, first_measured(ok, TAKEN), "max"),
        psnr_db=_number(ok, "psnr_to_baseline_db", "min") if name != BASELINE else None,
        equality=max(classes & set(CLASSES), key=CLASSES.index, default=None),
        latency=latency,
        memory=compare_peaks(pairs, base, [peak]),
        metrics=after_holm({n: compare_metric(pairs, base, n) for n in metrics if len(pairs)}),
        faults=int(ok["fault"].notna().sum()) if "fault" in ok else 0,
    )


def titles(compared: Sequence[Strategy]) -> list[str]:
    """Each strategy's name with what its workload and machine have that not all of these have in common."""
    facts = [[*s.workload.split(", "), s.machine] for s in compared]
    common = set.intersection(*map(set, facts)) if facts else set()
    return [
        ", ".join([s.name, *(fact for fact in own if fact not in common)])
        for s, own in zip(compared, facts, strict=True)
    ]


def paired(ok: pd.DataFrame, by_key: pd.DataFrame) -> pd.DataFrame:
    """The jobs whose baseline ended well on the same kind of machine, with its key as `partner`."""
    at = by_key.index.get_indexer(pd.Index(ok["baseline_key"]))
    with_baseline, machines = ok[at >= 0], by_key["machine"].to_numpy()[at[at >= 0]]
    same = with_baseline["machine"].to_numpy() == machines
    pairs: pd.DataFrame = with_baseline[same].assign(partner=with_baseline["baseline_key"][same])
    return pairs


def _number(table: pd.DataFrame, column: str | None, how: str) -> float | None:
    """The median, maximum or minimum of a column; None where no line has a number."""
    values = numeric(table[column]).astype(float).dropna() if column in table else ()
    return float(getattr(values, how)()) if len(values) else None


def front(candidates: Sequence[Strategy]) -> list[Strategy]:
    """The Pareto front over peak memory, latency and distance from the baseline's frames: those complete strategies
    that no other of the same workload and machine matches in all three and beats in one. What is not known is left
    out of the comparison."""
    timed = [s for s in candidates if s.complete and s.total_s is not None]
    return [s for s in timed if not any(_beats(other, s) for other in timed)]


def _beats(a: Strategy, b: Strategy) -> bool:
    """Whether `a` is as good as `b`, of the same workload and machine, in all costs that both have, and better in
    one."""
    if (a.workload, a.machine) != (b.workload, b.machine):
        return False
    costs = [(x, y) for x, y in zip(_costs(a), _costs(b), strict=True) if x is not None and y is not None]
    return all(x <= y for x, y in costs) and any(x < y for x, y in costs)


def _costs(s: Strategy) -> tuple[float | None, float | None, float | None]:
    likeness = 100.0 if s.name == BASELINE else s.psnr_db
    return s.total_s, s.memory_gib, None if likeness is None else -likeness


@dataclass(frozen=True)
class Choice:
    """What to use on a card of `gib`: the fastest strategy that fits, and the fastest that also keeps the frames."""

    gib: int
    fastest: Strategy | None
    faithful: Strategy | None


def best_for(candidates: Sequence[Strategy], budgets: Sequence[int] = BUDGETS_GIB) -> list[Choice]:
    """The choice for each card, of strategies of one workload and machine with known VRAM; one with a job that did not
    end well fits no card."""
    timed = [(s.total_s, s) for s in candidates if s.complete and s.total_s is not None]
    by_latency = [s for _, s in sorted(timed, key=lambda pair: pair[0])]
    choices = []
    for gib in budgets:
        fitting = [s for s in by_latency if s.reserved_gib is not None and s.reserved_gib <= gib]
        faithful = [s for s in fitting if s.equality in CLASSES[:3]]
        choices.append(Choice(gib, next(iter(fitting), None), next(iter(faithful), None)))
    return choices
