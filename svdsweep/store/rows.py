"""Rows in, union out: the outcome of every job, appended to one file a writer and never rewritten."""

import dataclasses
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from svdsweep.config import Job
from svdsweep.config.keys import rebuild
from svdsweep.errors import UserError

SCHEMA = 1
STATUSES = ("ok", "oom", "failed", "crashed", "timeout", "rejected")
FINAL = ("ok", "oom", "rejected")
"""Statuses that are findings: a job that has one is done. The others are tried again."""

PARTS: dict[str, Any] = {
    f.name: f.default_factory for f in dataclasses.fields(Job) if dataclasses.is_dataclass(f.default_factory)
}
"""The settings of a job that are dataclasses, and their kinds."""
OWN = tuple(f.name for f in dataclasses.fields(Job) if f.name not in PARTS)
"""The others."""

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
        """The row of a parsed line, also of an older schema: what it lacks gets its default."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{**{k: v for k, v in plain.items() if k in known}, "job": _job(plain["job"])})


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


class Outcome(Protocol):
    """What decides which row of a key counts; `Row` has it, and so may what is kept of one."""

    @property
    def key(self) -> str:
        """The job's key."""

    @property
    def attempt(self) -> int:
        """Which try of the job it is, from 1 on."""

    @property
    def final(self) -> bool:
        """Whether the job is done with."""


Kept = TypeVar("Kept", bound=Outcome)


def last_rows(rows: Iterable[Kept]) -> dict[str, Kept]:
    """The row that counts for each key, whatever the order of the files.

    The highest attempt wins; of one attempt that two drivers made, a final row wins over one that is not, then the
    later."""
    best: dict[str, Kept] = {}
    for row in rows:
        known = best.get(row.key)
        if known is None or (row.attempt, row.final) >= (known.attempt, known.final):
            best[row.key] = row
    return best


def row_files(folder: Path) -> list[Path]:
    """The files of a sweep's rows, the one that was written to last at the end."""
    return sorted((folder / "rows").glob("*.jsonl"), key=lambda p: (p.stat().st_mtime_ns, p.name))


def read_rows(folder: Path) -> Iterable[Row]:
    """Every readable row of a sweep, all attempts, a later file's after an earlier one's."""
    for path in row_files(folder):
        with path.open("rb") as lines:
            for line in lines:
                try:
                    yield Row.from_plain(orjson.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, UserError):
                    continue


class Tail:
    """What is new in `<folder>/rows/*.jsonl` since the last look; whole lines only. Of the file `but`, which the caller
    writes, only what is there at the first look."""

    def __init__(self, folder: Path, but: str = "") -> None:
        self.folder, self.but = folder / "rows", but
        self._at: dict[Path, int] = {}
        self._looked = False

    def new(self) -> Iterator[Row]:
        """The rows that have been added; damaged lines are passed over."""
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.name == self.but and self._looked:
                continue
            start = self._at.setdefault(path, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as f:
                f.seek(start)
                data = f.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._at[path] = start + len(whole)
            for line in whole.splitlines():
                try:
                    yield Row.from_plain(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    continue
        self._looked = True


def _job(plain: Mapping[str, Any]) -> Job:
    """`job_from`, with equal parts built once: a sweep has few models and strategies and many jobs."""
    own = {name: plain[name] for name in OWN if name in plain}
    return Job(**own, **{name: _part(name, orjson.dumps(plain[name])) for name in PARTS if name in plain})


@lru_cache(10_000)
def _part(name: str, text: bytes) -> Any:
    return rebuild(PARTS[name], orjson.loads(text))
