"""The main job: a grid, the jobs still to do, a row for each, tables and a report at the end."""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import svdsweep
from svdsweep import terminal
from svdsweep.analysis.columns import flat
from svdsweep.cli import DONE, SOME_FAILED, Request
from svdsweep.config import Job
from svdsweep.grid import Grid, expand
from svdsweep.loading import load_worker
from svdsweep.media import renamed_when_done
from svdsweep.models.locate import fetch
from svdsweep.runner import pending, run_jobs
from svdsweep.runner.devices import discover
from svdsweep.runner.progress import for_terminal
from svdsweep.schema import UserError
from svdsweep.store import Row, Store

IN_SHORT = ("adj_psnr_db", "adj_ssim", "mc_flicker_255", "motion_px", "first_psnr_db", "psnr_to_baseline_db")
"""Metrics of the table on the terminal; the others are in the files."""


def run(request: Request) -> int:
    """Run what is still to do and show what there is. Returns the exit code; raises UserError and KeyboardInterrupt."""
    grid = expand(request.settings, request.config_dir)
    warn(grid)
    store = Store(grid.folder)
    found = store.rows()
    todo = pending(grid.jobs, found, grid.runner)
    say(f"{grid.folder}: {len(grid.jobs)} jobs, {terminal.counts(of(grid, found), len(todo))}")
    if todo:
        check_writable(grid.folder)
        write_manifest(grid, request)
        if grid.runner.skip_predicted_oom:
            todo = without_foreseen_oom(todo, grid, store)
        for model in {job.model for job in todo}:
            fetch(model)
        try:
            if todo:
                for _ in run_jobs(todo, load_worker, grid.runner, grid.folder, for_terminal()):
                    pass
        finally:
            found = write_outcome(grid.folder, store)
    rows = of(grid, found)
    show(grid, rows, request.json)
    return DONE if all(row.final for row in rows) and len(rows) == len(grid.jobs) else SOME_FAILED


def without_foreseen_oom(todo: list[Job], grid: Grid, store: Store) -> list[Job]:
    """Store a `rejected` row for each job that cannot fit by prediction; returns the others."""
    from svdsweep.forecast import foreseen_oom

    refused = foreseen_oom(todo, discover(grid.runner.devices), grid.folder)
    for row in refused:
        store.append(row)
    keys = {row.key for row in refused}
    return [job for job in todo if job.key not in keys]


def of(grid: Grid, rows: dict[str, Row]) -> list[Row]:
    """The rows of the grid's jobs, in the grid's order."""
    return [rows[job.key] for job in grid.jobs if job.key in rows]


def check_writable(folder: Path) -> None:
    """Raise UserError unless the sweep's folder can be made and written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise UserError(
            f"The sweep's folder {folder} cannot be written to ({e.strerror}). Choose another with runs_dir=FOLDER."
        ) from e


def write_manifest(grid: Grid, request: Request) -> None:
    """`sweep.json`: the command, the axes and the keys, for `watch` and the report."""
    manifest = {
        "name": grid.name,
        "settings": request.settings,
        "config_dir": request.config_dir,
        "axes": grid.axes,
        "keys": [job.key for job in grid.jobs],
        "svdsweep": svdsweep.__version__,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with renamed_when_done(grid.folder / "sweep.json") as part:
        part.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def write_outcome(folder: Path, store: Store) -> dict[str, Row]:
    """Tables and report, as far as the sweep came; pandas is imported only when there is something new to write.

    Returns the rows that they show, by key."""
    from svdsweep import report
    from svdsweep.analysis.tables import write_results
    from svdsweep.probes.equality import compare_missing

    for row in compare_missing(folder):
        store.append(row)
    if rows := store.rows():
        write_results(folder, list(rows.values()))
        report.write(folder)
    return rows


def show(grid: Grid, rows: Sequence[Row], as_json: bool) -> None:
    """The table of results and where to look next, or one JSON document."""
    if as_json:
        document: dict[str, Any] = {
            "name": grid.name,
            "folder": str(grid.folder),
            "rows": [flat(row) for row in rows],
        }
        print(json.dumps(document, indent=1))
        return
    print(terminal.outcome(rows, IN_SHORT))
    print(f"\n{terminal.counts(rows, len(grid.jobs) - len(rows))}")
    if why := terminal.troubles(rows):
        print(why)
    videos = sum(1 for row in rows if row.values.get("video"))
    print(f"report   {grid.folder / 'report.html'}")
    print(f"table    {grid.folder / 'results.csv'}  (.parquet, .md)")
    if videos:
        print(
            f"videos   {grid.folder / 'videos'}{os.sep}  ({videos}; contact sheets in {grid.folder / 'sheets'}{os.sep})"
        )


def warn(grid: Grid) -> None:
    """Say once what will run but perhaps not as hoped."""
    for warning in grid.warnings:
        say(f"warning: {warning}")


def say(text: str) -> None:
    """To standard error: standard output is for results."""
    print(text, file=sys.stderr, flush=True)
