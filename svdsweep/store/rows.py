"""Rows in, union out: the outcome of every job, appended to one file a writer and never rewritten."""

import dataclasses
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from svdsweep.config import Job
from svdsweep.config.keys import rebuild
from svdsweep.errors import UserError
from svdsweep.store.defects import defect

SCHEMA = 1
STATUSES = ("ok", "defective", "oom", "failed", "crashed", "timeout", "rejected")
"""`defective`: it ran to its end, but the video is black, flat, frozen or not finite, and takes part in nothing."""
WHOLE = ("ok", "defective")
"""Statuses of runs that came to their end."""
FINAL = ("ok", "defective", "oom", "rejected")
"""Statuses that are findings: a job that has one is done. The others are tried again."""

PARTS: dict[str, Any] = {
    f.name: f.default_factory for f in dataclasses.fields(Job) if dataclasses.is_dataclass(f.default_factory)
}
"""The settings of a job that are dataclasses, and their kinds."""

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, UserError)
"""What reading a line that is no row may raise."""

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Row:
    """The outcome of a job."""

    job: Job
    status: str
    attempt: int = 1
    error: str = ""
    phase: str = ""
    """Where it ended, unless `ok`: `load`, `compile`, `warmup`, a stage, `metrics`, `write`."""
    values: dict[str, Scalar] = field(default_factory=dict)
    """Measurements and metrics by their column names (units in the names); None is `not known`, never 0."""
    series: dict[str, list[Any]] = field(default_factory=dict)
    """Raw repeats, steps and per-frame values by name."""
    provenance: dict[str, Scalar] = field(default_factory=dict)
    """Host, device, versions, and whatever else a number depends on."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader: why a column is empty, what was suspicious."""

    @property
    def key(self) -> str:
        """The job's key as it is computed now; the stored one is for people and scripts only."""
        return self.job.key

    @property
    def final(self) -> bool:
        """Whether the job is done with; `failed`, `crashed` and `timeout` are tried again."""
        return self.status in FINAL

    def to_json(self) -> str:
        """One line of JSON; NaN and infinities are refused, for a reader elsewhere could not parse them."""
        plain = {"schema": SCHEMA, "key": self.key, **dataclasses.asdict(self)}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Row":
        """The row of a parsed line, also of an older schema: what it lacks or has as null gets its default.

        Raises one of `UNREADABLE` for what is no row."""
        if not isinstance(plain["status"], str):
            raise TypeError("a status is a word")
        attempt = int(plain.get("attempt") or 1)
        error, phase = (str(plain.get(name) or "") for name in ("error", "phase"))
        values, series, facts = (
            _object(plain.get(name) or {}) for name in ("values", "series", "provenance")
        )
        lists = {name: list(numbers) for name, numbers in series.items()}
        notes = [str(note) for note in plain.get("notes") or []]
        job, status = _job(plain["job"]), plain["status"]
        if status == "ok" and (broken := defect(job, values)):  # of a svdsweep that did not look for it
            status, error = "defective", broken
        return cls(job, status, attempt, error, phase, values, lists, facts, notes)


class Store:
    """The rows of a sweep: `<folder>/rows/<host>-<pid>.jsonl`, append-only: safe on NFS, merged by copies."""

    def __init__(self, folder: Path, writer: str | None = None) -> None:
        self.folder = folder
        self.path = folder / "rows" / f"{writer or f'{socket.gethostname()}-{os.getpid()}'}.jsonl"

    def append(self, row: Row) -> None:
        """Write a row and wait until it is on the disk. Raises OSError when it cannot be."""
        line = row.to_json() + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as f:  # whatever is read, all that is written goes to the end
            if f.tell():
                f.seek(-1, os.SEEK_END)
                if f.read(1) != b"\n":
                    f.write(b"\n")  # an earlier writer of the same name died in mid-line
            f.write(line.encode())
            f.flush()
            os.fsync(f.fileno())

    def rows(self) -> dict[str, Row]:
        """The row that counts of each job by key; torn or damaged lines are passed over."""
        return last_rows(read_rows(self.folder))


def last_rows(rows: Iterable[Row]) -> dict[str, Row]:
    """The row that counts for each key, whatever the order of the files.

    The highest attempt wins; of one attempt that two drivers made, a final row wins over one that is not, then the
    later."""
    best: dict[str, Row] = {}
    for row in rows:
        rival = best.get(row.key)
        if rival is None or (row.attempt, row.final) >= (rival.attempt, rival.final):
            best[row.key] = row
    return best


@dataclass
class Faults:
    """What a reader met in the row files beside rows as this version writes them."""

    unreadable: int = 0
    """Lines that are no row here (torn, damaged, or with a setting that only a newer version knows): passed over."""
    other_schema: int = 0
    """Rows of another schema: read, and what they lack is empty."""


def rows_of(lines: Iterable[bytes], faults: Faults) -> Iterator[Row]:
    """The row of each line; a line that is none is passed over and counted. The one way from a line to a row."""
    for line in lines:
        if not line.strip():
            continue
        try:
            plain = orjson.loads(line)
            row = Row.from_plain(plain)
        except UNREADABLE:
            faults.unreadable += 1
            continue
        faults.other_schema += plain.get("schema") != SCHEMA
        yield row


def read_rows(folder: Path, faults: Faults | None = None) -> Iterator[Row]:
    """Every readable row of a sweep, all attempts, a later file's after an earlier one's; `faults` are added to."""
    faults = faults or Faults()
    # the file that was written to last comes last
    for path in sorted((folder / "rows").glob("*.jsonl"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        with path.open("rb") as lines:
            yield from rows_of(lines, faults)


class Tail:
    """What is new in `<folder>/rows/*.jsonl` since the last look; whole lines only. Of the file `but`, which the caller
    writes, only what is there at the first look."""

    def __init__(self, folder: Path, but: str = "") -> None:
        self.folder, self.but = folder / "rows", but
        self.faults = Faults()
        self._read_to: dict[Path, int] = {}
        self._looked = False

    def new(self) -> Iterator[Row]:
        """The rows that have been added; lines that are none are passed over, and counted in `faults`."""
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.name == self.but and self._looked:
                continue
            start = self._read_to.setdefault(path, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as f:
                f.seek(start)
                data = f.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read_to[path] = start + len(whole)
            yield from rows_of(whole.splitlines(), self.faults)
        self._looked = True


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} stands where names and values should")
    return value


def _job(value: Any) -> Job:
    """`job_from`, with equal parts built once: a sweep has few models and strategies and many jobs."""
    plain = _object(value)
    settings = {f.name: plain[f.name] for f in dataclasses.fields(Job) if f.name in plain}
    return Job(**{n: _part(n, orjson.dumps(v)) if n in PARTS else v for n, v in settings.items()})


@lru_cache(10_000)
def _part(name: str, text: bytes) -> Any:
    return rebuild(PARTS[name], _object(orjson.loads(text)))
