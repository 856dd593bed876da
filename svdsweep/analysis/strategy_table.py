"""The comparison of strategies as a tidy table, and a table as LaTeX."""

from collections.abc import Sequence

import pandas as pd

from svdsweep.analysis.strategies import Strategy, front

PRINTED = (
    *("memory", "jobs_ok", "jobs_oom", "total_s", "total_s_ratio", "total_s_ratio_low", "total_s_ratio_high"),
    *("total_s_ratio_verdict", "peak_gib", "peak_ratio", "equality", "psnr_to_baseline_db"),
)
"""Columns of the table that goes into a paper."""


def strategy_table(compared: Sequence[Strategy]) -> pd.DataFrame:
    """One line a strategy, workload and machine: counts by status, latency, peak, and both ÷ baseline with intervals
    and verdicts; for each metric its mean paired difference with interval and verdict."""
    best = front(compared)
    return pd.DataFrame([_line(s, s in best) for s in compared])


def _line(s: Strategy, on_front: bool) -> dict[str, object]:
    line: dict[str, object] = {
        "workload": s.workload,
        "machine": s.machine,
        "memory": s.name,
        **{f"jobs_{status}": n for status, n in s.statuses.items()},
        "total_s": s.total_s,
        "peak_gib": s.memory_gib,
        "equality": s.equality,
        "psnr_to_baseline_db": s.psnr_db,
        "on_front": on_front,
    }
    estimates = {"total_s_ratio": s.latency, "peak_ratio": s.memory}
    estimates |= {f"{name}_difference": e for name, e in s.metrics.items()}
    for name, e in estimates.items():
        line |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high, f"{name}_n": e.n}
        line[f"{name}_verdict"] = e.verdict
    return line


def latex(table: pd.DataFrame, columns: Sequence[str]) -> str:
    """Some columns of a table as a `tabular` with booktabs' rules, before them workload and machine where there are
    several: every text escaped, numbers with four digits, the unknown as a dash."""
    several = [name for name in ("workload", "machine") if name in table and table[name].nunique() > 1]
    chosen = table[[name for name in dict.fromkeys([*several, *columns]) if name in table]]
    return str(chosen.to_latex(index=False, escape=True, na_rep="--", float_format=lambda v: f"{v:.4g}"))
