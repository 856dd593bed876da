"""The table of results on the terminal: what varies, how each job ended, time, memory and the headline metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from svdsweep.metrics import Column, catalogue, headlines
from svdsweep.probes.throttling import throttling
from svdsweep.store.columns import MEASURED, flat, union, varying
from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import Row
from svdsweep.terminal import LINES, SHORT, cell, is_number, table

BEST = "*"


def outcome(rows: Sequence[Row]) -> str:
    """One line a job: what varies, how it ended, time, memory, metrics. The best of a column carries a star."""
    if not rows:
        return "no rows yet"
    asked = asked_columns(rows)
    columns = catalogue({family for row in rows for family in row.job.metrics.families})
    best = best_values(rows, columns)
    shown = [flat(row) for row in rows[:LINES]]
    header = ["job", *(SHORT.get(n, n) for n in asked)]
    header += [SHORT.get(n, n) + ("" if best[n] is None else " " * len(BEST)) for n in best]
    right = [False, *(is_number(shown, n) for n in asked)] + [True] * len(best)
    return table(header, [_line(t, asked, best) for t in shown], right, len(rows) - len(shown))


def asked_columns(rows: Sequence[Row]) -> list[str]:
    """What the jobs differ in, and how they ended where that is not well for all."""
    status = ["status"] if any(row.status != "ok" for row in rows) else []
    return [*(varying(row.job for row in rows) or ["motion_bucket_id"]), *status]


def best_values(rows: Sequence[Row], columns: Mapping[str, Column]) -> dict[str, float | None]:
    """The headline columns in which any job has a value, each with the value worth a star. Of memory, VRAM where a
    GPU counted it, else the host's; throttling only where it matters."""
    tables = [{**row.provenance, **row.values} for row in rows]
    well = [t for t, row in zip(tables, rows, strict=True) if row.status == "ok"]
    shown = _headlines(tables, columns)
    return {name: best_value([t.get(name) for t in well], columns[name]) for name in shown}


def _headlines(tables: Sequence[Mapping[str, Scalar]], columns: Mapping[str, Column]) -> list[str]:
    known = headlines(union([[column.name for column in MEASURED], *tables]), 2, columns)
    names = [n for n in known if any(t.get(n) is not None for t in tables)]
    if "vram_allocated_peak_gib" in names and "host_ram_peak_gib" in names:
        names.remove("host_ram_peak_gib")
    if "throttled_pct" in names and not any((told := throttling(t)) and told.matters for t in tables):
        names.remove("throttled_pct")
    return names


def best_value(well: Sequence[Scalar], column: Column) -> float | None:
    """The value worth a star, of jobs that ended well: none where no direction is better, or all are equal."""
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
