"""`svdsweep show KEY`: all that is known of one job, wherever under a folder it ran."""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svdsweep.analysis.reproduce import command
from svdsweep.commands.request import Parser
from svdsweep.config import Job
from svdsweep.config.keys import canonical_part
from svdsweep.errors import UserError, some
from svdsweep.store.columns import flat
from svdsweep.store.logs import tail
from svdsweep.store.manifest import sweeps_in
from svdsweep.store.places import ENDINGS, OF_JOBS, file_of, files_in
from svdsweep.store.rows import Row, Store
from svdsweep.terminal import cell, on_one_line, visible, warn

KEY = re.compile(r"[0-9a-f]{3,12}")
LOG_LINES = 25


@dataclass(frozen=True)
class Found:
    """A row, and the folder of its sweep."""

    folder: Path
    row: Row


def main(argv: Sequence[str]) -> int:
    """Print the job; returns 0. Raises UserError for a key that no sweep has, or that several jobs begin with."""
    parser = Parser(
        "show",
        "One job: its settings, row, notes, files, log, and the command that makes it again.",
        "example:\n  svdsweep show 035f2e",
    )
    parser.add_argument("key", metavar="KEY", help="the job's key, or the first digits of it")
    parser.add_in("the folder of the sweeps, or of one sweep")
    parser.add_json()
    asked = parser.asked(argv)
    found = find(asked.key, asked.folder)
    if asked.json:
        print(json.dumps([document(each) for each in found], indent=1))
        return 0
    print(visible(in_words(found[0])))
    if len(found) > 1:
        others = some([str(each.folder) for each in found[1:]], 3)
        print(visible(f"\nIt is in {others} too; `--in FOLDER` shows that."))
    return 0


def find(key: str, folder: Path) -> list[Found]:
    """The job in each sweep that has it, the one that was written to last first. Raises UserError."""
    if not KEY.fullmatch(key.lower()):
        raise UserError(
            f"{key} is no key: a job's key has 12 hexadecimal digits, of which the first three or more do."
        )
    sweeps = sweeps_in(folder) or [folder]
    found = []
    for sweep in sweeps:
        store = Store(sweep)
        found += [Found(sweep, row) for name, row in store.rows().items() if name.startswith(key.lower())]
        warn(sweep, store.faults)
    keys = sorted({each.row.key for each in found})
    if not keys:
        raise UserError(
            f"No row under {folder} has a key that begins with {key}. `svdsweep list` tells what is there."
        )
    if len(keys) > 1:
        raise UserError(f"{len(keys)} jobs have keys that begin with {key}: {some(keys, 5)}.")
    return sorted(found, key=lambda each: -_written_at(each.folder))


def _written_at(folder: Path) -> float:
    return max(path.stat().st_mtime for path in files_in(folder, "rows"))


def document(found: Found) -> dict[str, Any]:
    """A job as plain data: the folder, the row as in tables, series, notes, files, log and command."""
    row = found.row
    log = _log(found)
    return {
        "folder": str(found.folder),
        "row": flat(row),
        "series": row.series,
        "notes": row.notes,
        "files": [str(path) for path in _files(found)],
        "log": str(log) if log else None,
        "command": command(row.job),
    }


def in_words(found: Found) -> str:
    """A job for people: how it ended, its command, then what is known, one name a line."""
    row, log = found.row, _log(found)
    ended = f"{row.status} in {row.phase}" if row.phase else row.status
    parts = [[f"{row.key}  {ended}, attempt {row.attempt}, in {found.folder}"]]
    if row.error:
        parts.append([row.error])
    parts.append(["again:", command(row.job)])
    for heading, values in (
        ("settings (of the parts, those that are not as by default):", _settings(row.job)),
        ("measured:", row.values),
        ("where and with what:", row.provenance),
    ):
        parts.append([heading, *_lines({name: value for name, value in values.items() if value is not None})])
    if row.notes:
        parts.append(["notes:", *(f"  {on_one_line(note)}" for note in row.notes)])
    if files := _files(found):
        parts.append(["files:", *(f"  {path}" for path in files)])
    if log:
        parts.append([f"end of {log}:", tail(log, LOG_LINES)])
    return "\n\n".join("\n".join(part) for part in parts)


def _settings(job: Job) -> dict[str, Any]:
    """A job's settings: its own, the names of its parts, and in these what is not as by default."""
    settings: dict[str, Any] = {}
    for f in dataclasses.fields(job):
        value = getattr(job, f.name)
        if not dataclasses.is_dataclass(value):
            settings[f.name] = value
            continue
        settings[f.name] = getattr(value, "name", None)
        settings |= {f"{f.name}.{name}": inner for name, inner in canonical_part(value).items()}
    return {name: value for name, value in settings.items() if value != ""}


def _lines(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"  {name.ljust(width)}  {on_one_line(cell(value))}" for name, value in values.items()]


def _files(found: Found) -> list[Path]:
    """The job's own files in its sweep."""
    paths = (file_of(found.folder, place, found.row.key) for place in OF_JOBS)
    return [path for path in paths if path]


def _log(found: Found) -> Path | None:
    """The log of the worker that made the row."""
    name = f"{found.row.provenance.get('worker')}{ENDINGS['logs']}"
    return next((path for path in files_in(found.folder, "logs") if path.name == name), None)
