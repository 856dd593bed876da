"""Each memory strategy against its baseline, the ones that no other beats, and the best for a given card."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from svdsweep.analysis.pairs import Estimate, Times, holm, latency_ratio, mean_difference, memory_ratio
from svdsweep.analysis.sweep import Sweep
from svdsweep.metrics import COLUMNS
from svdsweep.store.rows import STATUSES

BUDGETS_GIB = (6, 8, 12, 16, 24, 48, 80)
CLASSES = ("baseline", "exact", "equivalent", "near", "different")
"""How far a strategy's frames are from its baseline's, the worst last."""
BASELINE = "baseline"
NOT_COMPARED = frozenset(name for name in COLUMNS if name.endswith("_to_baseline") or "_to_baseline_" in name)
"""Metrics that are comparisons already."""


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
    names = [name for name in metrics or COLUMNS if _compared(table, name)]
    by_key = table[table["status"] == "ok"].drop_duplicates("key").set_index("key", drop=False)
    groups = table.groupby(["workload", "machine", "memory"], sort=False, dropna=False)
    found = [_strategy(sweep, tuple(map(str, place)), group, by_key, names) for place, group in groups]
    return sorted(
        found, key=lambda s: (s.workload, s.machine, s.name != BASELINE, s.total_s is None, s.total_s or 0)
    )


def _compared(table: pd.DataFrame, name: str) -> bool:
    return name in table and name not in NOT_COMPARED and pd.api.types.is_numeric_dtype(numeric(table[name]))


def numeric(column: pd.Series) -> pd.Series:
    """A column as numbers, what is none as missing."""
    return pd.to_numeric(column, errors="coerce")


def _strategy(
    sweep: Sweep, place: tuple[str, ...], group: pd.DataFrame, by_key: pd.DataFrame, metrics: list[str]
) -> Strategy:
    workload, machine, name = place
    ok = group[group["status"] == "ok"]
    counts = group["status"].value_counts()
    pairs = paired(ok, by_key) if name != BASELINE else ok.iloc[:0].assign(partner=None)
    base = by_key.loc[pairs["partner"]] if len(pairs) else by_key.iloc[:0]
    memory = sweep.memory_column
    both = pd.DataFrame({"mine": _column(pairs, memory), "base": _column(base, memory)}).dropna()
    return Strategy(
        name=name,
        workload=workload,
        machine=machine,
        statuses={status: int(counts[status]) for status in STATUSES if status in counts},
        total_s=_number(_column(ok, "total_s"), "median"),
        memory_gib=_number(_column(group, memory), "max"),
        reserved_gib=_reserved(ok),
        psnr_db=_number(_column(ok, "psnr_to_baseline_db"), "min") if name != BASELINE else None,
        equality=_worst(ok),
        latency=latency_ratio(
            [
                (m, b)
                for m, b in zip(times(pairs), times(base), strict=True)
                if m is not None and b is not None
            ]
        ),
        memory=memory_ratio(both["mine"].tolist(), both["base"].tolist()),
        metrics=holm({n: _difference(pairs, base, n) for n in metrics}) if len(pairs) else {},
        faults=int(ok["fault"].notna().sum()) if "fault" in ok else 0,
    )


def paired(ok: pd.DataFrame, by_key: pd.DataFrame) -> pd.DataFrame:
    """The jobs whose baseline ended well on the same kind of machine, with its key as `partner`."""
    at = by_key.index.get_indexer(pd.Index(ok["baseline_key"]))
    known, machines = ok[at >= 0], by_key["machine"].to_numpy()[at[at >= 0]]
    same = known["machine"].to_numpy() == machines
    kept: pd.DataFrame = known[same].assign(partner=known["baseline_key"][same])
    return kept


def _difference(pairs: pd.DataFrame, base: pd.DataFrame, name: str) -> Estimate:
    """Mean difference of a metric: first within each (image, seed), whose other settings are no independent cases."""
    gaps = pd.DataFrame(
        {
            "gap": numeric(pairs[name]).to_numpy(float) - numeric(base[name]).to_numpy(float),
            "image": pairs["image"].astype(str).to_numpy(),
            "seed": pairs["seed"].to_numpy(),
        }
    ).dropna()
    cases = gaps.groupby(["image", "seed"])["gap"].mean()
    return mean_difference([float(v) for v in cases], COLUMNS[name].better)


def times(table: pd.DataFrame) -> list[Times | None]:
    """The timed runs of each line of a table; None where there are none."""
    columns = (
        numeric(table[name]).to_numpy(float).tolist()
        for name in ("log_total_s", "log_total_s_variance", "repeats")
    )
    return [
        None if math.isnan(mean) else Times(mean, None if math.isnan(var) else var, int(n))
        for mean, var, n in zip(*columns, strict=True)
    ]


def _column(table: pd.DataFrame, name: str) -> "pd.Series[float]":
    values = numeric(table[name]) if name in table else pd.Series(math.nan, index=table.index)
    return values.astype(float).reset_index(drop=True)


def _number(values: "pd.Series[float]", how: str) -> float | None:
    known = values.dropna()
    return float(getattr(known, how)()) if len(known) else None


def _reserved(ok: pd.DataFrame) -> float | None:
    for name in ("vram_process_peak_gib", "vram_reserved_peak_gib", "vram_allocated_peak_gib"):
        if (peak := _number(_column(ok, name), "max")) is not None:
            return peak
    return None


def _worst(ok: pd.DataFrame) -> str | None:
    if "equality" not in ok:
        return None
    known = [CLASSES.index(word) for word in ok["equality"].dropna().unique() if word in CLASSES]
    return CLASSES[max(known)] if known else None


def front(found: Sequence[Strategy]) -> list[Strategy]:
    """The Pareto front over peak memory, latency and distance from the baseline's frames: those complete strategies
    that no other of the same workload and machine matches in all three and beats in one. What is not known is left
    out of the comparison."""
    whole = [s for s in found if s.complete and s.total_s is not None]
    return [s for s in whole if not any(_beats(other, s) for other in whole if _alike(s, other))]


def _alike(a: Strategy, b: Strategy) -> bool:
    return (a.workload, a.machine) == (b.workload, b.machine) and a is not b


def _costs(s: Strategy) -> tuple[float | None, float | None, float | None]:
    likeness = 100.0 if s.name == BASELINE else s.psnr_db
    return s.total_s, s.memory_gib, None if likeness is None else -likeness


def _beats(a: Strategy, b: Strategy) -> bool:
    known = [(x, y) for x, y in zip(_costs(a), _costs(b), strict=True) if x is not None and y is not None]
    return all(x <= y for x, y in known) and any(x < y for x, y in known)


@dataclass(frozen=True)
class Choice:
    """What to use on a card of `gib`: the fastest strategy that fits, and the fastest that also keeps the frames."""

    gib: int
    fastest: Strategy | None
    faithful: Strategy | None


def best_for(found: Sequence[Strategy], budgets: Sequence[int] = BUDGETS_GIB) -> list[Choice]:
    """For strategies of one workload and machine with known VRAM; those with a job that did not end well do not fit."""
    known = [s for s in found if s.complete and s.reserved_gib is not None and s.total_s is not None]
    choices = []
    for gib in budgets:
        fitting = sorted((s for s in known if (s.reserved_gib or 0) <= gib), key=lambda s: s.total_s or 0)
        faithful = [s for s in fitting if s.equality in CLASSES[:3]]
        choices.append(Choice(gib, fitting[0] if fitting else None, faithful[0] if faithful else None))
    return choices
