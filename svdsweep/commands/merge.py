"""`svdsweep merge`: folders of one sweep become one; merging is copying, once no two rows of a job contradict."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from svdsweep.commands.request import Parser
from svdsweep.errors import UserError
from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import OF_JOBS, file_of, files_in, refuse_links
from svdsweep.store.rows import Row, Store
from svdsweep.terminal import visible, warn


def main(argv: Sequence[str]) -> int:
    """Answer the verb; returns the exit code. Raises UserError."""
    parser = Parser(
        "merge",
        "Bring the rows and videos of several folders of one sweep together. Folders that share jobs which "
        "were run twice are in conflict; --prefer decides.",
    )
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="runs/NAME", help="folders of one sweep, finished or not")
    add("--into", required=True, type=Path, metavar="DIR", help="the folder to fill; it may be one of them")
    add("--prefer", choices=("first", "last"), help="whose row counts where two differ")
    parser.add_flag("--check", "only look for conflicts")
    asked = parser.asked(argv)
    folders = sweeps_of(asked.folders, asked.into)
    clashes = conflicts(folders)
    for clash in clashes:
        print(visible(clash), file=sys.stderr)
    if asked.check:
        print(f"{len(clashes)} conflicts in {len(folders)} folders")
        return 1 if clashes else 0
    if clashes and not asked.prefer:
        raise UserError(
            f"{len(clashes)} jobs were finished in more than one folder, with different results. Say --prefer=first or "
            "--prefer=last (in the order of the folders), or move one folder's rows away. Nothing was merged."
        )
    rows = merge(folders if asked.prefer == "last" else folders[::-1], asked.into)
    print(visible(f"{asked.into}: {len(rows)} jobs of {len(folders)} folders"))
    return 0


def sweeps_of(folders: Sequence[Path], into: Path) -> list[Path]:
    """The folders whose rows come together, that which is filled among them. Raises UserError for one without rows."""
    merged = list(folders)
    if (into / "rows").is_dir() and into.resolve() not in [folder.resolve() for folder in folders]:
        merged.insert(0, into)
    for folder in merged:
        if not (folder / "rows").is_dir():
            raise UserError(f"{folder} is no sweep: it has no folder `rows`.")
        refuse_links(folder)
    return merged


def conflicts(folders: Sequence[Path]) -> list[str]:
    """A line for each job with unequal final rows in two folders; a row that was copied is equal and no conflict."""
    clashes: list[str] = []
    first: dict[str, tuple[Path, Row]] = {}
    for folder in folders:
        store = Store(folder)
        rows = store.rows()
        warn(folder, store.faults)
        for key, row in rows.items():
            where, earlier = first.setdefault(key, (folder, row))
            if row.final and earlier.final and row != earlier:
                clashes.append(f"{key}: {_clash(earlier, row)} ({where} and {folder})")
            elif row.final:
                first[key] = (folder, row)
    return clashes


def _clash(one: Row, other: Row) -> str:
    """How two rows of a job ended, and where if not on one kind of machine."""
    ended = f"{one.status} twice" if one.status == other.status else f"{one.status} and {other.status}"
    machines = {str(row.provenance.get("gpu") or row.provenance.get("device")) for row in (one, other)}
    return ended + (f", on {' and '.join(sorted(machines))}" if len(machines) > 1 else "")


def merge(folders: Sequence[Path], into: Path) -> list[Row]:
    """Copy rows and files into one folder and write its tables; a later folder's final row wins. Returns the rows.

    Row files are only added: where several rows of a key differ, the one that counts is written again, after them."""
    from svdsweep.analysis.files import write_results  # pandas, only when there is something to write

    candidates: dict[str, list[tuple[Path, Row]]] = {}
    for folder in folders:
        for key, row in Store(folder).rows().items():
            candidates.setdefault(key, []).append((folder, row))
    winners = {key: _winner(rows) for key, rows in candidates.items()}
    for folder in folders:
        if folder.resolve() != into.resolve():
            _copy_rows(folder, into)
            _copy_files(folder, into, {key for key, (where, _) in winners.items() if where == folder})
    store = Store(into, writer=f"merged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for key, (_, winner) in winners.items():
        if any(row != winner for _, row in candidates[key]):
            store.append(replace(winner, attempt=max(row.attempt for _, row in candidates[key])))
    merged = list(Store(into).rows().values())
    write_results(into, merged)
    return merged


def _winner(rows: Sequence[tuple[Path, Row]]) -> tuple[Path, Row]:
    """The last final row and its folder; the last of all where none is final."""
    return next((one for one in reversed(rows) if one[1].final), rows[-1])


def _copy_rows(folder: Path, into: Path) -> None:
    """Each row file under its name; one of the same name that goes another way gets a name of its own."""
    for path in files_in(folder, "rows"):
        content, target, n = path.read_bytes(), into / "rows" / path.name, 2
        while target.exists() and not content.startswith(target.read_bytes()):
            if target.read_bytes().startswith(content):
                break  # it is there already, and more
            target, n = into / "rows" / f"{path.stem}-{n}.jsonl", n + 1
        else:
            _copy(path, target)


def _copy_files(folder: Path, into: Path, keys: set[str]) -> None:
    """The videos, sheets and kept frames of jobs; nothing else of a folder is taken, and nothing that is a link."""
    for place in OF_JOBS:
        for key in sorted(keys):
            if path := file_of(folder, place, key):
                _copy(path, into / place / path.name)


def _copy(path: Path, target: Path) -> None:
    """Copy what a file holds and when it was written, which orders the rows; its rights stay behind."""
    with renamed_when_done(target) as part:
        shutil.copyfile(path, part)
        os.utime(part, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
