"""One sweep against another: two GPUs, two versions, two commits; pairs of equal jobs, regressions first."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from svdsweep.analysis.pairs import Estimate, after_holm, compare_latency, compare_metric, compare_peaks
from svdsweep.analysis.strategies import NOT_COMPARED
from svdsweep.analysis.sweep import VRAM_PEAKS, Sweep
from svdsweep.analysis.verdicts import AMBIGUOUS, confirmed, judged
from svdsweep.config import Job
from svdsweep.config.keys import canonical, digest
from svdsweep.errors import UserError, nearest
from svdsweep.metrics import COLUMNS

PLACES = (
    *("gpu", "cpu", "driver", "cuda", "cudnn", "torch", "diffusers", "transformers", "accelerate", "python"),
    *("git", "allocator", "sdpa_kernels", "gpu_power_limit_w", "threads"),
)
"""What may differ between two sweeps beside their jobs."""


@dataclass(frozen=True)
class Change:
    """A strategy on a workload in the second sweep against the first: ratios are second ÷ first."""

    strategy: str
    workload: str
    pairs: int
    lost: int
    """Jobs that ended well in the first and not in the second."""
    won: int
    latency: Estimate
    memory: Estimate
    metrics: dict[str, Estimate]

    @property
    def is_slower(self) -> bool:
        """Whether its runs took longer, whatever the clock did."""
        e = self.latency
        return e.verdict == "slower" or (e.verdict == AMBIGUOUS and e.low is not None and e.low > 1)

    def worst(self) -> float:
        """How much slower or larger, as a ratio; what was lost is beyond all."""
        ratios = [e.value for e in (self.latency, self.memory) if e.value is not None]
        return float("inf") if self.lost else max(ratios, default=0.0)

    def regressed(self, above: float) -> list[str]:
        """What became worse by more than a share `above`, in words. A latency without an interval counts as it
        stands: a gate that lets through what it could not measure is none."""
        told = []
        if self.lost:
            told.append(f"{self.lost} jobs no longer end well")
        e = self.latency
        unsure = " (too few runs for an interval)" if e.low is None else f" ({e.why})" if e.why else ""
        if e.value is not None and e.value > 1 + above and (self.is_slower or e.low is None):
            told.append(f"latency {e.value - 1:+.1%}{unsure}")
        m = self.memory
        if m.value is not None and m.value > 1 + above and m.verdict == "more":
            told.append(f"VRAM {m.value - 1:+.1%}")
        return told


@dataclass(frozen=True)
class Comparison:
    """All changes, the worst first, and what differs between the two places."""

    changes: list[Change]
    differing: dict[str, tuple[str, str]]
    """Settings and provenance that differ, by name: the first sweep's values and the second's."""
    only_first: int
    only_second: int


def compare_sweeps(first: Sweep, second: Sweep, strategies: Collection[str] = ()) -> Comparison:
    """Pair the jobs of two sweeps by their keys, or, where one setting differs throughout, by the rest. `strategies`:
    these of the first alone. Raises UserError for one that it does not have."""
    named(strategies, list(map(str, first.table["memory"].unique())) if len(first.table) else [])
    apart = settings_apart(first.jobs, second.jobs)
    keys = [{_rest(job, apart): key for key, job in sweep.jobs.items()} for sweep in (first, second)]
    common = [name for name in keys[0] if name in keys[1]]
    was, now = (
        sweep.table.set_index("key").loc[[key_of[name] for name in common]]
        for sweep, key_of in zip((first, second), keys, strict=True)
    )
    changes = []
    if common:
        groups = was.reset_index(drop=True).groupby(["workload", "memory"], sort=False)
        sides = [
            (str(name), str(load), was.iloc[lines.index], now.iloc[lines.index])
            for (load, name), lines in groups
            if not strategies or name in strategies
        ]
        changes = sorted(changes_of(sides), key=lambda c: (not c.is_slower and not c.lost, -c.worst()))
    differing = apart | places_apart(first, second)
    return Comparison(changes, differing, len(keys[0]) - len(common), len(keys[1]) - len(common))


def named(asked: Collection[str], there: Collection[str]) -> None:
    """Raise UserError for a strategy that is not among those that are there."""
    for name in asked:
        if name not in there:
            known = f"there are {', '.join(there)}" if there else "there is no row"
            raise UserError(f"No job of memory={name} is in these sweeps: {known}.{nearest(name, there)}")


def changes_of(sides: Sequence[tuple[str, str, pd.DataFrame, pd.DataFrame]]) -> list[Change]:
    """The change of each strategy on a workload, from the lines of its jobs in a first sweep and, in the same order,
    those in a second; their latencies are judged together."""
    changes = [_change(*side) for side in sides]
    latencies = judged(dict(enumerate(change.latency for change in changes)))
    return [
        replace(change, latency=confirmed(latencies[n], now, was))
        for n, (change, (_, _, *both)) in enumerate(zip(changes, sides, strict=True))
        for was, now in [_ended_well(*both)]
    ]


def settings_apart(first: Mapping[str, Job], second: Mapping[str, Job]) -> dict[str, tuple[str, str]]:
    """Settings that have one value in all jobs of the first sweep and another in all of the second; none where keys
    are shared."""
    if set(first) & set(second) or not first or not second:
        return {}
    one, other = (_throughout(list(map(flattened, jobs.values()))) for jobs in (first, second))
    pairs = {n: (one.get(n, "default"), other.get(n, "default")) for n in sorted(one.keys() | other.keys())}
    return {name: (a, b) for name, (a, b) in pairs.items() if a is not None and b is not None and a != b}


def _throughout(jobs: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """The value of each setting that some of the jobs have off its default; None where they differ in it."""
    names = {name for job in jobs for name in job}
    values = {name: {str(job.get(name, "default")) for job in jobs} for name in names}
    return {name: several.pop() if len(several) == 1 else None for name, several in values.items()}


def flattened(job: Job) -> dict[str, Any]:
    """What distinguishes a job from the defaults, by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in canonical(job).items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _rest(job: Job, apart: Mapping[str, Any]) -> str:
    if not apart:
        return job.key
    return digest({name: value for name, value in flattened(job).items() if name not in apart})


def places_apart(first: Sweep, second: Sweep) -> dict[str, tuple[str, str]]:
    """What differs between the places and programs of two sweeps, by name: the first one's values and the second's."""
    one, other = (
        {n: ", ".join(sorted({*map(str, sweep.table[n].dropna())})) for n in PLACES if n in sweep.table}
        for sweep in (first, second)
    )
    pairs = {name: (one.get(name) or "–", other.get(name) or "–") for name in PLACES}
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _change(strategy: str, workload: str, first: pd.DataFrame, second: pd.DataFrame) -> Change:
    metrics = [n for n in COLUMNS if n in first and n in second and n not in NOT_COMPARED]
    was_ok, is_ok = (first["status"] == "ok").to_numpy(), (second["status"] == "ok").to_numpy()
    base, mine = _ended_well(first, second)
    lost, won = int((was_ok & ~is_ok).sum()), int((~was_ok & is_ok).sum())
    latency = compare_latency(mine, base)
    memory = compare_peaks(mine, base, VRAM_PEAKS)  # the host's depends on what ran before in the process
    gaps = {name: compare_metric(mine, base, name) for name in metrics}
    compared = after_holm({name: gap for name, gap in gaps.items() if gap.n})
    return Change(strategy, workload, len(base), lost, won, latency, memory, compared)


def _ended_well(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines of both sides whose jobs ended well on both."""
    both = (first["status"] == "ok").to_numpy() & (second["status"] == "ok").to_numpy()
    return first[both], second[both]
