"""`svdsweep run`, the main job: a grid, the jobs still to do, a row for each, tables and a report at the end."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from svdsweep import terminal
from svdsweep.commands.outcome import outcome
from svdsweep.commands.request import Parser
from svdsweep.config import Job
from svdsweep.errors import DONE, SOME_FAILED, UserError
from svdsweep.export.live import exporting
from svdsweep.grid.expand import Grid, expand
from svdsweep.models.decoders.locate import fetch_decoder
from svdsweep.models.locate import fetch
from svdsweep.probes.devices import discover, left_out
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.runner.pending import pending
from svdsweep.runner.progress import for_terminal
from svdsweep.store.columns import flat
from svdsweep.store.faults import Faults
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.manifest import Manifest, write_manifest
from svdsweep.store.places import refuse_links
from svdsweep.store.rows import Row, Store
from svdsweep.worker import load_worker
from svdsweep.worker.contract import CPU_INSTEAD


def main(argv: Sequence[str]) -> int:
    """Run what is still to do and show what there is. Returns the exit code; raises UserError and KeyboardInterrupt."""
    parser = Parser("run", "Run the jobs of a grid.")
    parser.add_grid()
    parser.add_json()
    asked = parser.asked(argv)
    return run(asked.settings, asked.config_dir, asked.json)


def run(settings: Sequence[str], config_dir: str | None = None, as_json: bool = False) -> int:
    """Run a grid and show its outcome; returns the exit code."""
    grid = expand(settings, config_dir)
    rows = rows_told_apart(rows_of(grid, finish(grid, settings, config_dir, for_terminal())))
    show(grid, rows, as_json)
    return DONE if all(row.final for row in rows) and len(rows) == len(grid.jobs) else SOME_FAILED


def finish(grid: Grid, settings: Sequence[str], config_dir: str | None, watch: Watch) -> dict[str, Row]:
    """Run the jobs of a grid that are still to do and write the sweep's tables and report; returns its rows by key.
    Where a tracker is asked for (`runner.export`), it is given them too.

    Raises UserError, and KeyboardInterrupt after a drain: what came until then is written all the same."""
    warn(grid)
    with exporting(grid.folder, grid.jobs, grid.runner.export, grid.runner.export_into, say) as live:
        rows = run_the_rest(grid, settings, config_dir, watch, live.passing if live else iter)
    if live:
        live.complete(rows_of(grid, rows))
    return rows


def run_the_rest(
    grid: Grid,
    settings: Sequence[str],
    config_dir: str | None,
    watch: Watch,
    passing: Callable[[Iterator[Row]], Iterator[Row]],
) -> dict[str, Row]:
    """What `finish` does; for `passing` see `execute`."""
    store = Store(grid.folder)
    rows = store.rows()
    terminal.warn(grid.folder, store.faults)
    todo = pending(grid.jobs, rows, grid.runner)
    say(f"{grid.folder}: {len(grid.jobs)} jobs, {terminal.counts(rows_of(grid, rows), len(todo))}")
    if not todo:
        return rows
    begin(grid, store, settings, config_dir)
    todo = ready(todo, grid, store)
    with written_anyway(grid.folder, store):
        execute(todo, grid, store, watch, passing)
    return write_outcome(grid.folder, store)


@contextmanager
def written_anyway(folder: Path, store: Store) -> Iterator[None]:
    """Where what is inside ends early, tables and report of what came until then are written all the same."""
    try:
        yield
    except BaseException as first:
        try:
            write_outcome(folder, store)
        except OSError as e:
            first.add_note(f"The tables and the report could not be written either ({e.strerror}).")
        raise


def begin(grid: Grid, store: Store, settings: Sequence[str], config_dir: str | None) -> None:
    """Make the sweep's folder and write down what was asked for. Raises UserError where that cannot be."""
    refuse_links(grid.folder, f"rows/{store.path.name}")
    check_writable(grid.folder)
    keys = [job.key for job in grid.jobs]
    write_manifest(
        grid.folder, Manifest(grid.name, settings, config_dir, grid.axes, keys, grid.tags, grid.note)
    )


def ready(todo: list[Job], grid: Grid, store: Store) -> list[Job]:
    """The jobs that are left to run, their weights fetched; those that cannot fit have a row. Raises UserError."""
    if grid.runner.skip_predicted_oom:
        todo = without_foreseen_oom(todo, grid, store)
    fetch_weights(todo)
    return todo


def fetch_weights(jobs: Sequence[Job]) -> None:
    """Bring the weights of the jobs' models here, as far as they are not. Raises UserError."""
    for model in {job.model for job in jobs}:
        fetch(model)
        fetch_decoder(model)


def execute(
    todo: Sequence[Job],
    grid: Grid,
    store: Store,
    watch: Watch,
    passing: Callable[[Iterator[Row]], Iterator[Row]] = iter,
) -> None:
    """Run jobs on the engine that was asked for, and say what is doubtful about them; `passing` is given the new
    rows as they are stored, and gives them on."""
    if todo:
        made = passing(run_jobs(todo, load_worker, grid.runner, store, watch))
        doubts = {note for row in made for note in row.notes if note.startswith(CPU_INSTEAD)}
        for doubt in doubts:
            say(f"warning: {doubt}")


def without_foreseen_oom(todo: list[Job], grid: Grid, store: Store) -> list[Job]:
    """Store a `rejected` row for each job that cannot fit by prediction; returns the others."""
    from svdsweep.predict.forecast import foreseen_oom

    refused = foreseen_oom(todo, discover(grid.runner.devices), grid.folder)
    for row in refused:
        store.append(row)
    keys = {row.key for row in refused}
    return [job for job in todo if job.key not in keys]


def rows_of(grid: Grid, rows: Mapping[str, Row]) -> list[Row]:
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


def write_outcome(folder: Path, store: Store) -> dict[str, Row]:
    """Tables and report, as far as the sweep came; pandas is imported only when there is something new to write.

    Returns the rows that they show, by key: they are read once, for ten thousand take a second."""
    from svdsweep import report
    from svdsweep.analysis.files import write_results
    from svdsweep.analysis.sweep import sweep_of
    from svdsweep.worker.baseline import compare_missing

    rows = store.rows()
    for row in compare_missing(folder, rows):
        store.append(row)
        rows[row.key] = row
    if rows:
        write_results(folder, rows.values())
        report.write(folder, sweep=sweep_of(folder, rows.values(), store.faults))
    return rows


def show(grid: Grid, rows: Sequence[Row], as_json: bool) -> None:
    """The table of results and where to look next, or one JSON document."""
    if as_json:
        document = {"name": grid.name, "folder": str(grid.folder), "rows": [flat(row) for row in rows]}
        print(json.dumps(document, indent=1))
        return
    print(outcome(rows))
    print(f"\n{terminal.counts(rows, len(grid.jobs) - len(rows))}")
    if why := terminal.troubles(rows):
        print(why)
    for sentence in advised(grid, rows):
        print(terminal.on_one_line(sentence))
    print(f"report   {grid.folder / 'report.html'}")
    print(f"table    {grid.folder / 'results.csv'}  (.parquet, .md)")
    if videos := sum(1 for row in rows if row.values.get("video")):
        sheets = f"contact sheets in {grid.folder / 'sheets'}{os.sep}"
        print(f"videos   {grid.folder / 'videos'}{os.sep}  ({videos}; {sheets})")


def advised(grid: Grid, rows: Sequence[Row]) -> list[str]:
    """Which strategy to take, a sentence for each workload and machine, where several were tried; pandas is imported
    only then."""
    if len({row.job.memory.name for row in rows}) < 2:
        return []
    from svdsweep.analysis.advice import advice
    from svdsweep.analysis.strategies import strategies
    from svdsweep.analysis.sweep import sweep_of

    sweep = sweep_of(grid.folder, rows, Faults())
    return [told.sentence for told in advice(sweep, strategies(sweep, ["psnr_to_baseline_db"]))]


def warn(grid: Grid) -> None:
    """Say once what will run but perhaps not as hoped."""
    for warning in grid.warnings:
        say(f"warning: {warning}")
    if grid.runner.name == "local" and grid.runner.devices.strip() == "auto" and (gpus := left_out()):
        say(
            f"warning: the CPU computes, though there is a GPU: {gpus}. runner.devices=cpu says that it shall."
        )


def say(text: str) -> None:
    """To standard error: standard output is for results."""
    print(terminal.visible(text), file=sys.stderr, flush=True)
