"""`svdsweep list`: the sweeps under a folder, how each stands, and which of them speak of something."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from svdsweep.commands.request import Parser
from svdsweep.runner.leases import is_run_now
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.manifest import read_manifest, sweeps_in
from svdsweep.store.rows import STATUSES, Row, Store
from svdsweep.terminal import cell, table, warn

HEADER = ("sweep", "state", "jobs", "fastest_s", "fastest", "mib", "asked_at", "tags", "note")
RIGHT = [name in ("jobs", "fastest_s", "mib") for name in HEADER]
MIB = 2**20


@dataclass(frozen=True)
class Listed:
    """A sweep in a list."""

    name: str
    folder: str
    state: str
    """`running` while a driver is at it, `done` when each job of its last command has a final row, else `to do`;
    `unknown` where `sweep.json` cannot be read."""
    jobs: int | None
    """Of its last command; None if not known."""
    statuses: dict[str, int]
    """Rows of those jobs by status."""
    fastest: str
    """Strategy of the fastest job that ended well."""
    fastest_s: float | None
    """Seconds of a video by that job (`total_s`)."""
    size_mib: float
    asked_at: str
    """When its last command began, as ISO 8601."""
    tags: list[str]
    note: str
    settings: list[str]
    """What its last command said."""

    def speaks_of(self, words: Iterable[str]) -> bool:
        """Whether all the words are in its name, tags, note or settings; large and small letters are alike."""
        text = "\n".join([self.name, *self.tags, self.note, *self.settings]).casefold()
        return all(word.casefold() in text for word in words)


def main(argv: Sequence[str]) -> int:
    """Print the list; returns 0. Raises UserError for a folder that is not there."""
    parser = Parser(
        "list",
        "The sweeps under a folder, the latest first: how each stands, its fastest job, its size, tags and note.",
        "example:\n  svdsweep list motion --tag rtx4070",
    )
    about_words = (
        "show only sweeps with this in their name, tags, note or settings; several must all be there"
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help=about_words)
    parser.add_in()
    parser.add_argument(
        "--tag", action="append", default=[], help="show only sweeps with this tag; may be repeated"
    )
    parser.add_json()
    asked = parser.asked(argv)
    found = [listed(folder) for folder in sweeps_in(asked.folder)]
    shown = [sweep for sweep in found if set(asked.tag) <= set(sweep.tags) and sweep.speaks_of(asked.words)]
    shown.sort(key=lambda sweep: (sweep.asked_at, sweep.name), reverse=True)
    print(
        json.dumps([asdict(sweep) for sweep in shown], indent=1)
        if asked.json
        else text(shown, asked.folder, len(found))
    )
    return 0


def text(sweeps: Sequence[Listed], folder: Path, there: int) -> str:
    """The table, or why there is none."""
    if not sweeps:
        return f"No sweep in {folder} has all that." if there else f"There is no sweep in {folder}."
    return table(HEADER, [_line(sweep) for sweep in sweeps], RIGHT)


def _line(sweep: Listed) -> list[str]:
    ended = sum(sweep.statuses.values())
    jobs = str(ended) if sweep.jobs is None else f"{ended} of {sweep.jobs}"
    others = [f"{sweep.statuses[status]} {status}" for status in STATUSES[1:] if status in sweep.statuses]
    state = ", ".join([sweep.state, *others])
    size = f"{sweep.size_mib:.1f}"
    last = (size, sweep.asked_at[:16].replace("T", " "), " ".join(sweep.tags), sweep.note)
    return [sweep.name, state, jobs, cell(sweep.fastest_s), sweep.fastest, *last]


def listed(folder: Path) -> Listed:
    """How a sweep stands, from its manifest and its rows."""
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError):
        manifest = {}
    store = Store(folder)
    rows = store.rows()
    warn(folder, store.faults)
    keys = {str(key) for key in manifest["keys"]} if "keys" in manifest else None
    mine = rows_told_apart(row for key, row in rows.items() if keys is None or key in keys)
    seconds, fastest = min(_times(mine), default=(None, ""))
    return Listed(
        name=folder.name,
        folder=str(folder),
        state=_state(folder, keys, mine),
        jobs=None if keys is None else len(keys),
        statuses=dict(Counter(row.status for row in mine)),
        fastest=fastest,
        fastest_s=seconds,
        size_mib=round(_size_bytes(folder) / MIB, 1),
        asked_at=str(manifest.get("written_at") or ""),
        tags=_words(manifest.get("tags")),
        note=str(manifest.get("note") or ""),
        settings=_words(manifest.get("settings")),
    )


def _words(told: Any) -> list[str]:
    return [str(word) for word in told or []]


def _times(rows: Iterable[Row]) -> Iterable[tuple[float, str]]:
    for row in rows:
        seconds = row.values.get("total_s")
        if row.status == "ok" and isinstance(seconds, int | float):
            yield float(seconds), row.job.memory.name


def _state(folder: Path, keys: set[str] | None, rows: Sequence[Row]) -> str:
    if is_run_now(folder):
        return "running"
    if keys is None:
        return "unknown"
    return "done" if sum(row.final for row in rows) == len(keys) else "to do"


def _size_bytes(folder: Path) -> int:
    """Bytes of the files in a folder; no link is followed, and what vanishes meanwhile is passed by."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
