"""The table of results on the terminal: what varies, how each job ended, time, memory and the headline metrics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from svdsweep.metrics import COLUMNS
from svdsweep.store.columns import flat, varying
from svdsweep.store.rows import Row
from svdsweep.terminal import SHORT, cell, is_number, table

LOWER_IS_BETTER = ("total_s", "vram_allocated_peak_gib", "host_ram_peak_gib")
MEASURED = ("load_s", "denoise_s", "vae_decode_s", "total_s")
IN_SHORT = ("adj_psnr_db", "adj_ssim", "mc_flicker_255", "motion_px", "first_psnr_db", "psnr_to_baseline_db")
BEST = "*"


def outcome(rows: Sequence[Row]) -> str:
    """One line a job: what varies, how it ended, time, memory, metrics. The best of a column carries a star."""
    if not rows:
        return "no rows yet"
    tables = [flat(row) for row in rows]
    ended = Counter(row.status for row in rows)
    on_gpu = any(t.get("vram_allocated_peak_gib") is not None for t in tables)
    memory = "vram_allocated_peak_gib" if on_gpu else "host_ram_peak_gib"
    measured = [*MEASURED, memory, *IN_SHORT]
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
        *(is_number(tables, n) for n in asked),
        *(False for _ in status),
        *(True for _ in measured),
    ]
    return table(header, lines, right)


def _best(tables: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The value worth a star: none where neither direction is better, or where all are equal."""
    better = "lower" if name in LOWER_IS_BETTER else COLUMNS[name].better if name in COLUMNS else None
    values: set[float] = {t[name] for t in tables if isinstance(t.get(name), int | float)}
    if better is None or len(values) < 2:
        return None
    return min(values) if better == "lower" else max(values)
