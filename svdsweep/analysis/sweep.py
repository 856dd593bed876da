"""A sweep's folder as one table, however it was left: torn rows, older schemas and missing files are told."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from svdsweep.analysis.table import comparison, first_measured, timed_runs
from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.probes.latency import ROUND
from svdsweep.store.columns import OVER_TIME
from svdsweep.store.faults import Faults
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.manifest import read_manifest
from svdsweep.store.places import files_in, may_be_named, strange
from svdsweep.store.rows import SCHEMA, Row, last_rows, read_rows

VRAM_PEAKS = ("vram_allocated_peak_gib", "vram_reserved_peak_gib")
"""Peaks that two jobs can be compared by; that of the process holds what libraries and earlier jobs left, too."""


@dataclass(frozen=True)
class Sweep:
    """A folder of rows, read. `table` has one line a job: the columns of `analysis.table.comparison`."""

    folder: Path
    manifest: Mapping[str, Any]
    table: pd.DataFrame
    jobs: Mapping[str, Job]
    repeats: Mapping[str, list[float]]
    """Raw `total_s` by key."""
    notes: Mapping[str, list[str]]
    """What the worker remarked, by key."""
    problems: list[str] = field(default_factory=list)
    """Sentences about what could not be read or is missing."""
    faults: Faults = field(default_factory=Faults)
    """What lines of its row files are no rows; `problems` tells of them too."""
    over_time: Mapping[str, Mapping[str, list[Any]]] = field(default_factory=dict)
    """What a GPU held over a run (GiB): lists by key and stage, one for each stretch, as the rows tell it."""

    @property
    def name(self) -> str:
        """The sweep's name: its manifest's, else its folder's."""
        return str(self.manifest.get("name") or self.folder.resolve().name)

    @property
    def remark(self) -> str:
        """The note and the tags that the user gave it; empty if none."""
        note, tags = str(self.manifest.get("note") or ""), map(str, self.manifest.get("tags", []))
        return " · ".join(filter(None, [note, *tags]))

    @cached_property
    def ok(self) -> pd.DataFrame:
        """The jobs that ended well."""
        return self.table[self.table["status"] == "ok"]

    @property
    def waiting(self) -> int:
        """Jobs of the last command that have no row yet."""
        return len(set(map(str, self.manifest.get("keys", []))) - set(self.jobs))

    @cached_property
    def memory_column(self) -> str:
        """The peak that this sweep can tell: of VRAM, or of host memory where no GPU counted."""
        return first_measured(self.ok, VRAM_PEAKS) or "host_ram_peak_gib"


def open_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder. Raises UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. A sweep's folder is runs/NAME, and holds rows/.")
    faults = Faults()
    # of the series, which take most of the room, the timed runs alone
    rows = (replace(row, series=_of_runs(row)) for row in read_rows(folder, faults))
    return sweep_of(folder, last_rows(rows).values(), faults)


def sweep_of(folder: Path, rows: Iterable[Row], faults: Faults) -> Sweep:
    """The sweep of a folder whose rows were read: the one that counts of each job, and what was met beside them."""
    problems: list[str] = []
    manifest = _manifest(folder, problems)
    problems += _of_reading(faults)
    rows = rows_told_apart(rows)
    table = comparison(rows)
    problems += _other_files(folder, table)
    problems += _missing_files(folder, table)
    if not rows:
        problems.append("there is no readable row in it")
    jobs = {row.key: row.job for row in rows}
    repeats = {row.key: timed_runs(row) for row in rows}
    notes = {row.key: row.notes for row in rows}
    return Sweep(folder, manifest, table, jobs, repeats, notes, problems, faults, _over_time(rows))


def _over_time(rows: Iterable[Row]) -> dict[str, dict[str, list[Any]]]:
    found = (
        (row.key, {stage: row.series[name] for stage, name in OVER_TIME.items() if row.series.get(name)})
        for row in rows
    )
    return {key: curves for key, curves in found if curves}


def _of_reading(faults: Faults) -> Iterator[str]:
    if faults.unreadable:
        yield str(faults)
    if faults.other_schema:
        yield f"{faults.other_schema} rows are of another schema than {SCHEMA}: what they lack is empty"


def _of_runs(row: Row) -> dict[str, list[Any]]:
    """The timed runs of a row, and their rounds; and its memory over time, which few rows have."""
    runs, rounds = timed_runs(row), row.series.get(ROUND, [])
    kept = {name: row.series[name] for name in OVER_TIME.values() if name in row.series}
    kept |= {"total_s": runs}
    return kept | {ROUND: rounds} if len(rounds) == len(runs) else kept


def _manifest(folder: Path, problems: list[str]) -> Mapping[str, Any]:
    try:
        return read_manifest(folder)
    except (OSError, ValueError) as e:
        problems.append(f"sweep.json cannot be read ({type(e).__name__}): the command is not known")
        return {}


def _other_files(folder: Path, table: pd.DataFrame) -> Iterator[str]:
    """Take from the table what names no plain file of the sweep, and tell what is not opened."""
    links = strange(folder)
    if links:
        yield f"{len(links)} links or devices in it are not opened: {', '.join(links[:3])}"
    for column in ("video", "contact_sheet"):
        if column in table:
            refused = table[column].notna() & ~table[column].map(lambda name: may_be_named(name, links))
            if count := int(refused.sum()):
                table[column] = table[column].mask(refused, None)
                yield f"{count} rows name a {column.replace('_', ' ')} that is no plain file of the sweep: ignored"


def _missing_files(folder: Path, table: pd.DataFrame) -> Iterator[str]:
    for column, subfolder in (("video", "videos"), ("contact_sheet", "sheets")):
        there = {path.name for path in files_in(folder, subfolder)}
        names = map(str, table[column].dropna()) if column in table else ()
        if lost := [name for name in names if name.rpartition("/")[2] not in there]:
            yield f"{len(lost)} {column.replace('_', ' ')}s named by rows are missing, {lost[0]} for one"
