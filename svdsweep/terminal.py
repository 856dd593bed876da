"""What a person reads on the terminal: the plan before, the table of results after; plain text, no libraries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from svdsweep.analysis.columns import asked_for, flat, varying
from svdsweep.config import Job
from svdsweep.metrics import COLUMNS
from svdsweep.store import STATUSES, Row, Scalar

LINES = 60
"""A longer table is cut; all of it is in the files."""
LOWER_IS_BETTER = ("total_s", "vram_allocated_peak_gib", "host_ram_peak_gib")
SHORT = {"vram_allocated_peak_gib": "vram_gib", "host_ram_peak_gib": "ram_gib", "decode_chunk_size": "chunk"}
MEASURED = ("load_s", "denoise_s", "vae_decode_s", "total_s")
BEST = "*"


def table(header: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Columns padded to their widest cell, two blanks apart; one longer than `LINES` says how much it leaves out."""
    shown = lines[:LINES]
    widths = [max(len(line[i]) for line in [header, *shown]) for i in range(len(header))]
    text = []
    for line in [header, *shown]:
        cells = zip(line, widths, right, strict=True)
        text.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip())
    if len(lines) > len(shown):
        text.append(f"… and {len(lines) - len(shown)} more")
    return "\n".join(text)


def outcome(rows: Sequence[Row], columns_of_metrics: Sequence[str]) -> str:
    """One line a job: what varies, how it ended, time, memory, metrics. The best of a column carries a star."""
    if not rows:
        return "no rows yet"
    tables = [flat(row) for row in rows]
    ended = Counter(row.status for row in rows)
    on_gpu = any(t.get("vram_allocated_peak_gib") is not None for t in tables)
    memory = "vram_allocated_peak_gib" if on_gpu else "host_ram_peak_gib"
    measured = [*MEASURED, memory, *columns_of_metrics]
    measured = [name for name in measured if any(t.get(name) is not None for t in tables)]
    asked = varying(row.job for row in rows) or ["motion_bucket_id"]
    best = {name: found for name in measured if (found := _best(tables, name)) is not None}
    status = ["status"] if set(ended) != {"ok"} else []
    lines = [
        [cell(t["key"]), *(cell(t[n]) for n in asked), *(str(t[n]) for n in status)]
        + [
            cell(t.get(n)) + (BEST if n in best and t.get(n) == best[n] else " " * (n in best))
            for n in measured
        ]
        for t in tables
    ]
    header = ["job", *(SHORT.get(n, n) for n in asked), *status]
    header += [SHORT.get(n, n) + " " * (n in best) for n in measured]
    right = [
        False,
        *(_is_number(tables, n) for n in asked),
        *(False for _ in status),
        *(True for _ in measured),
    ]
    return table(header, lines, right)


def counts(rows: Sequence[Row], todo: int = 0) -> str:
    """`12 ok, 1 oom, 3 to do`."""
    ended = Counter(row.status for row in rows)
    parts = [f"{ended[status]} {status}" for status in STATUSES if ended[status]]
    return ", ".join([*parts, *([f"{todo} to do"] if todo else [])]) or "nothing yet"


def troubles(rows: Sequence[Row]) -> str:
    """The reasons of what did not end well, each once, with the jobs that it befell."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.status != "ok":
            last = row.error.strip().splitlines()[-1] if row.error.strip() else "no reason given"
            reasons.setdefault((row.status, row.phase, last), []).append(row.key)
    return "\n".join(
        f"{status}{f' in {phase}' if phase else ''}: {reason}  ({', '.join(keys[:3])}"
        f"{f' and {len(keys) - 3} more' if len(keys) > 3 else ''})"
        for (status, phase, reason), keys in reasons.items()
    )


def plan(
    jobs: Sequence[Job],
    state: Mapping[str, str],
    refused: Mapping[str, str],
    predicted_gib: Mapping[str, float],
    fit: Mapping[str, str],
) -> str:
    """The jobs of a grid: what varies, the pipeline each needs, predicted VRAM where known, and where it stands."""
    asked = varying(jobs) or ["motion_bucket_id", "seed"]
    groups = {key: i + 1 for i, key in enumerate(dict.fromkeys(job.settings_key for job in jobs))}
    columns = [asked_for(job) for job in jobs]
    more = ["predicted_gib"] * bool(predicted_gib) + ["fits"] * any(fit.values())
    lines = []
    for job, asked_of_job in zip(jobs, columns, strict=True):
        facts = {"predicted_gib": cell(predicted_gib.get(job.key)), "fits": fit.get(job.key) or "-"}
        line = [job.key, *(cell(asked_of_job[n]) for n in asked), str(groups[job.settings_key])]
        lines.append([*line, *(facts[name] for name in more), state[job.key]])
    header = ["job", *(SHORT.get(n, n) for n in asked), "pipeline", *more, "state"]
    right = [False, *(_is_number(columns, n) for n in asked), True, *(True for _ in more), False]
    first = {job.settings_key: job for job in reversed(jobs)}
    members = Counter(job.settings_key for job in jobs)
    pipelines = [
        f"pipeline {number}: {first[key].model.name}, {first[key].model.dtype}, memory={first[key].memory.name}"
        f" ({members[key]} jobs)"
        for key, number in groups.items()
    ]
    reasons = sorted({f"impossible here: {reason}" for reason in refused.values()})
    return "\n".join([table(header, lines, right), "", *pipelines[:LINES], *reasons])


def cell(value: Scalar) -> str:
    """A value as a table shows it: three or four digits are enough to compare, and unknown is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _best(tables: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The value worth a star: none where neither direction is better, or where all are equal."""
    better = "lower" if name in LOWER_IS_BETTER else COLUMNS[name].better if name in COLUMNS else None
    values: set[float] = {t[name] for t in tables if isinstance(t.get(name), int | float)}
    if better is None or len(values) < 2:
        return None
    return min(values) if better == "lower" else max(values)


def _is_number(tables: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(t.get(name), int | float) for t in tables)
