"""One strategy over many sweeps, by their dates: commits, versions and cards, each against the sweep before it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from svdsweep.analysis.sweep import VRAM_PEAKS, Sweep
from svdsweep.analysis.table import first_measured, numeric
from svdsweep.analysis.versus import Change, changes_of, flattened, named, places_apart, settings_apart
from svdsweep.config import Job
from svdsweep.config.keys import digest
from svdsweep.store.rows import STATUSES

FREE = ("memory.", "measure.", "metrics.")
"""Settings that may differ between sweeps: what a strategy's name stands for, how a job is measured and judged."""
Place = tuple[str, str, str]
"""Strategy, workload and machine."""


@dataclass(frozen=True)
class Point:
    """A strategy on a workload in one sweep: medians over the jobs that ended well."""

    sweep: str
    """Its folder, as it was named."""
    started_at: str
    """When its first job began, by ISO 8601; empty where no row tells."""
    svdsweep: str
    """Version and commit."""
    torch: str
    machine: str
    statuses: dict[str, int]
    total_s: float | None
    low: float | None
    high: float | None
    vram_gib: float | None
    """Largest peak of its jobs."""
    against: str = ""
    """The latest sweep before it on such a machine; empty where it is compared with none."""
    change: Change | None = None
    differing: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What else differs from `against`: settings, versions, drivers."""
    why: str = ""
    """Why it is compared with none."""


@dataclass(frozen=True)
class Trend:
    """The points of a strategy on a workload, by date."""

    strategy: str
    workload: str
    points: list[Point]


@dataclass(frozen=True)
class _Kept:
    """The jobs of a strategy on a workload and machine in one sweep."""

    sweep: Sweep
    group: pd.DataFrame


def trends(sweeps: Sequence[Sweep], strategies: Collection[str] = ()) -> list[Trend]:
    """The trend of each strategy and workload that some of the sweeps have, the newest point last; a sweep without a
    date stands after those that have one. `strategies`: these alone.

    Raises UserError for a strategy that no sweep has."""
    points: dict[tuple[str, str], list[Point]] = {}
    latest: dict[Place, _Kept] = {}
    for sweep in sorted(sweeps, key=lambda sweep: (not _began(sweep.table), _began(sweep.table))):
        for (strategy, workload, _), point in _points(sweep, latest).items():
            points.setdefault((strategy, workload), []).append(point)
    named(strategies, dict.fromkeys(name for name, _ in points))
    return [Trend(*at, found) for at, found in points.items() if not strategies or at[0] in strategies]


def _points(sweep: Sweep, latest: dict[Place, _Kept]) -> dict[Place, Point]:
    """The points of a sweep, each against the latest sweep that has its place; the sweep then takes that place."""
    groups = {}
    if not sweep.table.empty:
        by_place = sweep.table.groupby(["memory", "workload", "machine"], sort=False)
        groups = {(str(m), str(w), str(at)): _Kept(sweep, group) for (m, w, at), group in by_place}
    sides = {place: _sides(latest[place], now) for place, now in groups.items() if place in latest}
    paired = [place for place, (was, _) in sides.items() if len(was)]
    found = changes_of([(*place[:2], *sides[place]) for place in paired])
    changes = dict(zip(paired, found, strict=True))
    points = {
        place: _point(now, place[-1], **_facts(place, now, latest, changes.get(place)))
        for place, now in groups.items()
    }
    latest |= groups
    return points


def _facts(place: Place, now: _Kept, latest: Mapping[Place, _Kept], change: Change | None) -> dict[str, Any]:
    """What a point is against the latest one of its place, or why that is not said."""
    was = latest.get(place)
    if was is None:
        known = {(strategy, workload) for strategy, workload, _ in latest}
        return {"why": "the first on this machine" if place[:2] in known else "the first"}
    if change is None:
        return {"why": _why_not(was, now)}
    differing = _settings_apart(was, now) | places_apart(was.sweep, now.sweep)
    return {"against": str(was.sweep.folder), "change": change, "differing": differing}


def _sides(was: _Kept, now: _Kept) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines of two groups whose jobs are the same but for `FREE` settings, in one order; none where several jobs of
    a group are."""
    tables = []
    for kept in (was, now):
        cases = [_case(kept.sweep.jobs[key]) for key in kept.group["key"]]
        tables.append(kept.group.set_index(pd.Index(cases)))
    first, second = tables
    common = first.index.intersection(second.index)
    if not (first.index.is_unique and second.index.is_unique):
        common = common[:0]
    return first.loc[common], second.loc[common]


def _case(job: Job) -> str:
    return digest({name: value for name, value in flattened(job).items() if not name.startswith(FREE)})


def _settings_apart(was: _Kept, now: _Kept) -> dict[str, tuple[str, str]]:
    """Settings that have one value in all jobs of a group and another in all of the other."""
    jobs = ({key: kept.sweep.jobs[key] for key in kept.group["key"]} for kept in (was, now))
    return settings_apart(*jobs)


def _why_not(was: _Kept, now: _Kept) -> str:
    apart = _settings_apart(was, now)
    words = ", ".join(f"{n} {' → '.join(both)}" for n, both in apart.items() if not n.startswith(FREE))
    return f"{was.sweep.folder} ran {f'another {words}' if words else 'no job of these'}"


def _point(kept: _Kept, machine: str, **facts: Any) -> Point:
    group, table = kept.group, kept.sweep.table
    ok = group[group["status"] == "ok"]
    counts = group["status"].value_counts()
    version, commit = str(kept.sweep.manifest.get("svdsweep") or ""), _told(group, "git")
    peak = first_measured(ok, VRAM_PEAKS)
    return Point(
        sweep=str(kept.sweep.folder),
        started_at=_began(table),
        svdsweep=f"{version} ({commit})" if version and commit else version or commit,
        torch=_told(group, "torch"),
        machine=machine,
        statuses={status: int(counts[status]) for status in STATUSES if status in counts},
        total_s=_median(ok, "total_s"),
        low=_median(ok, "total_s_low"),
        high=_median(ok, "total_s_high"),
        vram_gib=float(numeric(ok[peak]).max()) if peak else None,
        **facts,
    )


def _told(group: pd.DataFrame, name: str) -> str:
    """What the jobs of a group tell of themselves, each once."""
    return ", ".join(dict.fromkeys(map(str, group[name].dropna()))) if name in group else ""


def _median(table: pd.DataFrame, name: str) -> float | None:
    """The median of a column; None unless every line has a number."""
    if name not in table or not len(table) or not numeric(table[name]).notna().all():
        return None
    return float(numeric(table[name]).astype(float).median())


def _began(table: pd.DataFrame) -> str:
    """When the first job of a sweep began; empty where no row tells a date."""
    times = [] if "started_at" not in table else [str(at) for at in table["started_at"].dropna()]
    return min((at for at in times if _is_date(at)), default="")


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
