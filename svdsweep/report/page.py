"""What the page shows, gathered from a sweep; the template only lays it out."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from svdsweep.analysis.advice import Advice, advice
from svdsweep.analysis.documentation import Claim, claims
from svdsweep.analysis.drift import drift_of_sweep
from svdsweep.analysis.reproduce import command
from svdsweep.analysis.strategies import Choice, Strategy, best_for, front, strategies
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import varying
from svdsweep.analysis.throttled import throttled_of_sweep
from svdsweep.config.version import __version__
from svdsweep.metrics import CATALOGUE, COLUMNS
from svdsweep.report import over_time
from svdsweep.report.drawing import Plot
from svdsweep.report.failures import Failure, failures, logs
from svdsweep.report.montage.cells import usual_axes
from svdsweep.report.montage.files import NAMES
from svdsweep.report.parallel import parallel
from svdsweep.report.pick import PickSection
from svdsweep.report.pick import section_of as pick_of
from svdsweep.report.pictures import Difference, differences
from svdsweep.report.plots import draw_all, headline_metrics
from svdsweep.report.prediction import Section, section_of
from svdsweep.report.words import has_value, shown, text
from svdsweep.store.columns import Column
from svdsweep.store.places import is_plain
from svdsweep.store.rows import STATUSES

ROWS_AT_MOST = 300
"""Jobs in the table of the page; all of them are in results.csv."""
TILES_AT_MOST = 2_000
"""Jobs in the video grid."""
SHEETS_AT_MOST = 24
ENVIRONMENT = (
    *("gpu", "gpu_memory_gib", "driver", "cuda", "cudnn", "gpu_capability", "sdpa_kernels", "allocator"),
    *("cpu", "cpu_cores", "threads", "host_ram_gib", "platform", "python", "torch", "diffusers"),
    *(
        "gpu_power_limit_w",
        "gpu_power_limit_default_w",
        "gpu_persistence_mode",
        "gpu_ecc",
        "gpu_mig",
        "clocks_held",
    ),
    *("pcie_generation", "pcie_generation_max", "pcie_width", "pcie_width_max", "sm_clock_max_mhz"),
    *("sm_clock_application_mhz", "memory_clock_max_mhz", "memory_clock_application_mhz"),
    *("transformers", "accelerate", "torchao", "xformers", "git", "throttle", "other_processes", "host"),
)


@dataclass(frozen=True)
class Page:
    """Everything on the page. Strings are text, to be escaped by the template."""

    sweep: Sweep
    version: str
    written_at: str
    counts: dict[str, int]
    answer: list[Advice]
    strategies: list[Strategy]
    front: list[Strategy]
    budgets: list[tuple[str, list[Choice]]]
    claims: list[Claim]
    headline: list[Column]
    """The metrics that stand in every table of the page."""
    parallel: dict[str, Any] | None
    plots: list[Plot]
    prediction: Section | None
    over_time: over_time.Section | None
    pick: PickSection | None
    differences: list[Difference]
    grid: dict[str, Any]
    montages: list[str]
    """What `svdsweep montage` wrote into the sweep's folder."""
    sheets: list[dict[str, Any]]
    columns: list[str]
    lines: list[dict[str, Any]]
    failures: list[Failure]
    logs: list[tuple[str, str]]
    environment: list[tuple[str, list[str]]]
    said: list[str]
    """What the page leaves out or misses, and what to mind when reading it."""


def gather(sweep: Sweep) -> Page:
    """Everything that the page of a sweep shows, also of an empty or broken one."""
    compared = strategies(sweep)
    axes = axes_of(sweep)
    headline = headline_metrics(sweep)
    columns = _columns(sweep, axes, headline)
    pick, unread = pick_of(sweep)
    counts = sweep.table["status"].value_counts()
    return Page(
        sweep=sweep,
        version=__version__,
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        counts={status: int(counts[status]) for status in STATUSES if status in counts},
        answer=advice(sweep, compared),
        strategies=compared,
        front=front(compared),
        budgets=_budgets(compared),
        claims=claims(sweep, compared),
        headline=headline,
        parallel=parallel(sweep, columns),
        plots=draw_all(sweep, compared),
        prediction=section_of(sweep),
        over_time=over_time.section_of(sweep),
        pick=pick,
        differences=differences(sweep, list(dict.fromkeys(s.name for s in compared))),
        grid=_grid(sweep, axes),
        montages=[name for name in NAMES if is_plain(sweep.folder / name)],
        sheets=_sheets(sweep, axes),
        columns=columns,
        lines=_lines(sweep, columns),
        failures=failures(sweep),
        logs=logs(sweep.folder) if len(sweep.ok) < len(sweep.table) else [],
        environment=_environment(sweep),
        said=[*unread, *_said(sweep)],
    )


def _said(sweep: Sweep) -> list[str]:
    """What the page leaves out or misses."""
    said = [*sweep.problems, *drift_of_sweep(sweep), *throttled_of_sweep(sweep)]
    total = len(sweep.table)
    if sweep.waiting:
        missing = f"{sweep.waiting} jobs of the last command have no row yet"
        said.append(f"{missing}: this is a picture of a sweep under way")
    if total > ROWS_AT_MOST:
        listed = f"the table lists {ROWS_AT_MOST} of {total} jobs (the failed ones first)"
        said.append(f"{listed}; all are in results.csv")
    if total > TILES_AT_MOST:
        said.append(f"the video grid holds the first {TILES_AT_MOST} of {total} jobs")
    return said


def axes_of(sweep: Sweep) -> list[str]:
    """The settings in which the jobs differ, the strategy first."""
    if sweep.table.empty:
        return []
    return sorted(varying(sweep.table), key=lambda name: name != "memory")


def _budgets(compared: Sequence[Strategy]) -> list[tuple[str, list[Choice]]]:
    places: dict[str, list[Strategy]] = {}
    for s in compared:
        places.setdefault(f"{s.workload}, {s.machine}", []).append(s)
    return [
        (place, best_for(members))
        for place, members in places.items()
        if any(s.reserved_gib is not None for s in members)
    ]


def _columns(sweep: Sweep, axes: Sequence[str], headline: Sequence[Column]) -> list[str]:
    metrics = [column.name for column in headline]
    wanted = ["total_s", sweep.memory_column, *metrics, "psnr_to_baseline_db", "equality"]
    wanted += ["throttled_pct"] if throttled_of_sweep(sweep) else []
    have = [n for n in wanted if n in sweep.table and sweep.table[n].notna().any()]
    return ["key", *axes, "status", *dict.fromkeys(have)]


def _lines(sweep: Sweep, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The jobs of the table: what did not end well first where they are too many."""
    table = sweep.table
    if len(table) > ROWS_AT_MOST:
        table = pd.concat([table[table["status"] != "ok"], table[table["status"] == "ok"]]).head(ROWS_AT_MOST)
    return [
        {
            "cells": [line.get(n) for n in columns],
            "key": line["key"],
            "video": text(line.get("video")),
            "sheet": text(line.get("contact_sheet")),
            "status": line["status"],
            "error": text(line.get("error")),
            "notes": sweep.notes.get(line["key"], []),
            "command": command(sweep.jobs[line["key"]]),
        }
        for line in table.to_dict("records")
    ]


def _grid(sweep: Sweep, axes: Sequence[str]) -> dict[str, Any]:
    """The tiles of the video grid and the values of its axes."""
    told = {"key", "baseline_key", "status", "video", "total_s", sweep.memory_column, *axes}
    first = sweep.table.head(TILES_AT_MOST)
    tiles = [
        {
            "key": line["key"],
            "base": text(line.get("baseline_key")),
            "status": line["status"],
            "video": text(line.get("video")),
            "at": {n: shown(line[n]) for n in axes},
            "label": ", ".join(
                f"{shown(line[n])} {CATALOGUE[n].unit}"
                for n in ("total_s", sweep.memory_column)
                if has_value(line.get(n))
            ),
        }
        for line in first[[name for name in first if name in told]].to_dict("records")
    ]
    values = {n: list(dict.fromkeys(tile["at"][n] for tile in tiles)) for n in axes}
    return {"axes": [n for n in axes if len(values[n]) > 1], "values": values, "tiles": tiles}


def _sheets(sweep: Sweep, axes: Sequence[str]) -> list[dict[str, Any]]:
    """Contact sheets: a few of each strategy, in turn."""
    if "contact_sheet" not in sweep.ok:
        return []
    with_sheet = sweep.ok.dropna(subset=["contact_sheet"])
    turn = with_sheet.groupby("memory", sort=False).cumcount()
    chosen = with_sheet.assign(turn=turn).sort_values("turn", kind="stable").head(SHEETS_AT_MOST)
    sheets = []
    for line in chosen.to_dict("records"):
        caption = ", ".join(f"{n} {shown(line[n])}" for n in axes) or line["key"]
        sheets.append({"path": line["contact_sheet"], "caption": caption, "key": line["key"]})
    return sheets


def _environment(sweep: Sweep) -> list[tuple[str, list[str]]]:
    """What the numbers depend on; a line with several values means that jobs differ in it."""
    columns = [sweep.table[name].dropna() for name in ENVIRONMENT if name in sweep.table]
    told = [(str(column.name), [shown(v) for v in column.unique() if str(v)][:8]) for column in columns]
    return [(name, values) for name, values in told if values]


def settings_line(sweep: Sweep) -> str:
    """The command that made the sweep, for a shell."""
    settings = [str(s) for s in sweep.manifest.get("settings", [])]
    return " ".join(["python -m svdsweep", *map(shlex.quote, settings)])


def montage_line(page: Page) -> str:
    """The command that makes one video of the grid, other settings as in its first job."""
    table, axes = page.sweep.table, page.grid["axes"]
    rows, columns = usual_axes(axes)
    chosen = [f"{name}={text(table[name].iloc[0])}" for name in axes if name not in (rows, columns)]
    flags = [*(["--rows", rows] if rows else []), *(["--columns", columns] if columns else [])]
    words = [str(page.sweep.folder), *flags, *(["--where", *chosen] if chosen else [])]
    return shlex.join(["svdsweep", "montage", *words])


def blind_spots(page: Page) -> list[Column]:
    """The metrics that the page shows, for what they are and what they do not see."""
    metrics = {column.name: column for column in page.headline}
    metrics |= {name: COLUMNS[name] for name in page.columns if name in COLUMNS}
    return list(metrics.values())
