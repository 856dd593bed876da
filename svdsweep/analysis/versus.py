"""One sweep against another: two GPUs, two versions, two commits; pairs of equal jobs, regressions first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from svdsweep.analysis.pairs import Estimate, holm, latency_ratio, mean_difference, memory_ratio
from svdsweep.analysis.strategies import NOT_COMPARED, numeric, times
from svdsweep.analysis.sweep import Sweep
from svdsweep.config import Job
from svdsweep.config.keys import canonical, digest
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

    def worst(self) -> float:
        """How much slower or larger, as a ratio; what was lost is beyond all."""
        known = [e.value for e in (self.latency, self.memory) if e.value is not None]
        return float("inf") if self.lost else max(known, default=0.0)

    def regressed(self, above: float) -> list[str]:
        """What became worse by more than a share `above`, in words. A latency without an interval counts as it
        stands: a gate that lets through what it could not measure is none."""
        told = []
        if self.lost:
            told.append(f"{self.lost} jobs no longer end well")
        e = self.latency
        if e.value is not None and e.value > 1 + above and (e.verdict == "slower" or e.low is None):
            told.append(
                f"latency {e.value - 1:+.1%}"
                + ("" if e.low is not None else " (too few runs for an interval)")
            )
        m = self.memory
        if m.value is not None and m.value > 1 + above and m.verdict == "more":
            told.append(f"VRAM {m.value - 1:+.1%}")
        return told


@dataclass(frozen=True)
class Comparison:
    """All changes, the worst first, and what differs between the two places."""

    changes: list[Change]
    differing: dict[str, tuple[str, str]]
    """Settings and provenance that differ, by name: of the first, of the second."""
    only_first: int
    only_second: int


def compare_sweeps(first: Sweep, second: Sweep) -> Comparison:
    """Pair the jobs of two sweeps by their keys, or, where one setting differs throughout, by the rest."""
    apart = settings_apart(first.jobs, second.jobs)
    one, two = ({_rest(job, apart): key for key, job in sweep.jobs.items()} for sweep in (first, second))
    both = [name for name in one if name in two]
    differing = apart | _places_apart(first, second)
    a = first.table.set_index("key", drop=False).loc[[one[n] for n in both]] if both else first.table.iloc[:0]
    b = (
        second.table.set_index("key", drop=False).loc[[two[n] for n in both]]
        if both
        else second.table.iloc[:0]
    )
    changes = []
    if both:
        names = [n for n in COLUMNS if n in a and n in b and n not in NOT_COMPARED]
        groups = pd.Series(range(len(a))).groupby(
            [a["workload"].to_numpy(), a["memory"].to_numpy()], sort=False
        )
        for (workload, strategy), places in groups:
            changes.append(
                _change(str(strategy), str(workload), a.iloc[list(places)], b.iloc[list(places)], names)
            )
    changes.sort(key=lambda c: (c.latency.verdict != "slower" and not c.lost, -c.worst()))
    return Comparison(changes, differing, len(one) - len(both), len(two) - len(both))


def settings_apart(first: Mapping[str, Job], second: Mapping[str, Job]) -> dict[str, tuple[str, str]]:
    """Settings that have one value in all jobs of the first sweep and another in all of the second; none where keys
    are shared."""
    if set(first) & set(second) or not first or not second:
        return {}
    sides = [[flattened(job) for job in jobs.values()] for jobs in (first, second)]
    names = {name for side in sides for job in side for name in job}
    apart = {}
    for name in sorted(names):
        values = [{str(job.get(name, "default")) for job in side} for side in sides]
        if len(values[0]) == len(values[1]) == 1 and values[0] != values[1]:
            apart[name] = (values[0].pop(), values[1].pop())
    return apart


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


def _places_apart(first: Sweep, second: Sweep) -> dict[str, tuple[str, str]]:
    told = {}
    for name in PLACES:
        one, two = (
            ", ".join(sorted({str(v) for v in sweep.table[name].dropna()})) if name in sweep.table else ""
            for sweep in (first, second)
        )
        if one != two:
            told[name] = (one or "–", two or "–")
    return told


def _change(
    strategy: str, workload: str, first: pd.DataFrame, second: pd.DataFrame, metrics: Sequence[str]
) -> Change:
    was, is_now = (first["status"] == "ok").to_numpy(), (second["status"] == "ok").to_numpy()
    a, b = first[was & is_now], second[was & is_now]
    gaps = {name: mean_difference(_cases(a, b, name), COLUMNS[name].better) for name in metrics}
    return Change(
        strategy,
        workload,
        len(a),
        int((was & ~is_now).sum()),
        int((~was & is_now).sum()),
        latency_ratio(
            [
                (mine, base)
                for mine, base in zip(times(b), times(a), strict=True)
                if mine is not None and base is not None
            ]
        ),
        _peaks(a, b),
        holm({name: gap for name, gap in gaps.items() if gap.n}),
    )


def _peaks(first: pd.DataFrame, second: pd.DataFrame) -> Estimate:
    """Of VRAM only: the host's memory depends on what ran before in the process."""
    for name in ("vram_allocated_peak_gib", "vram_reserved_peak_gib"):
        if name in first and name in second:
            both = pd.DataFrame(
                {"a": numeric(first[name]).to_numpy(float), "b": numeric(second[name]).to_numpy(float)}
            )
            if len(known := both.dropna()):
                return memory_ratio(known["b"].tolist(), known["a"].tolist())
    return memory_ratio([], [])


def _cases(first: pd.DataFrame, second: pd.DataFrame, name: str) -> list[float]:
    gaps = pd.DataFrame(
        {
            "gap": numeric(second[name]).to_numpy(float) - numeric(first[name]).to_numpy(float),
            "image": first["image"].astype(str).to_numpy(),
            "seed": first["seed"].to_numpy(),
        }
    ).dropna()
    return [float(v) for v in gaps.groupby(["image", "seed"])["gap"].mean()]
