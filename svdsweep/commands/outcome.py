"""The table of results on the terminal: what varies, how each job ended, time, memory and the headline metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from svdsweep.metrics import Column, catalogue, headlines
from svdsweep.probes.throttling import throttling
from svdsweep.store.columns import flat, union, varying
from svdsweep.store.rows import Row
from svdsweep.terminal import SHORT, cell, is_number, table

BEST = "*"


def outcome(rows: Sequence[Row]) -> str:
    """One line a job: what varies, how it ended, time, memory, metrics. The best of a column carries a star."""
    if not rows:
        return "no rows yet"
    tables = [flat(row) for row in rows]
    asked = asked_columns(rows)
    columns = catalogue({family for row in rows for family in row.job.metrics.families})
    best = best_values(tables, columns)
    header = ["job", *(SHORT.get(n, n) for n in asked)]
    header += [SHORT.get(n, n) + ("" if best[n] is None else " " * len(BEST)) for n in best]
    right = [False, *(is_number(tables, n) for n in asked)] + [True] * len(best)
    return table(header, [_line(t, asked, best) for t in tables], right)


def asked_columns(rows: Sequence[Row]) -> list[str]:
    """What the jobs differ in, and how they ended where that is not well for all."""
    status = ["status"] if any(row.status != "ok" for row in rows) else []
    return [*(varying(row.job for row in rows) or ["motion_bucket_id"]), *status]


def best_values(
    tables: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]
) -> dict[str, float | None]:
    """The headline columns in which any job has a value, each with the value worth a star. Of memory, VRAM where a
    GPU counted it, else the host's; throttling only where it matters."""
    names = [n for n in headlines(union(tables), 2, columns) if any(t.get(n) is not None for t in tables)]
    if "vram_allocated_peak_gib" in names and "host_ram_peak_gib" in names:
        names.remove("host_ram_peak_gib")
    if "throttled_pct" in names and not any((told := throttling(t)) and told.matters for t in tables):
        names.remove("throttled_pct")
    return {name: best_value(tables, columns[name]) for name in names}


def best_value(tables: Sequence[Mapping[str, Any]], column: Column) -> float | None:
    """The value worth a star, of jobs that ended well: none where no direction is better, or all are equal."""
    well = [t.get(column.name) for t in tables if t["status"] == "ok"]
    values = {value for value in well if isinstance(value, int | float)}
    if column.better is None or len(values) < 2:
        return None
    return min(values) if column.better == "lower" else max(values)


def _line(job: Mapping[str, Any], asked: Sequence[str], best: Mapping[str, float | None]) -> list[str]:
    line = [cell(job["key"]), *(cell(job[name]) for name in asked)]
    for name, value in best.items():
        wins = job["status"] == "ok" and job.get(name) == value
        star = "" if value is None else BEST if wins else " " * len(BEST)
        line.append(cell(job.get(name)) + star)
    return line
