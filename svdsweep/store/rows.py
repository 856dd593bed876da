"""Rows in, union out: the outcome of every job, appended to one file a writer and never rewritten."""

import json
import os
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import orjson

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.store.defects import defect
from svdsweep.store.faults import Faults
from svdsweep.store.kinds import LARGEST, PARTS, NoRow, Scalar, judged_job, judged_series, judged_values
from svdsweep.store.places import files_in, names_in

T = TypeVar("T")
SCHEMA = 1
STATUSES = ("ok", "defective", "oom", "failed", "crashed", "timeout", "rejected")
"""`defective`: it ran to its end, but the video is black, flat, frozen or not finite, and takes part in nothing."""
WHOLE = ("ok", "defective")
"""Statuses of runs that came to their end."""
FINAL = ("ok", "defective", "oom", "rejected")
"""Statuses that are findings: a job that has one is done. The others are tried again."""

CHECK = "crc32"
"""The last member of a line: the CRC-32 of the line without it, as `json.dumps` writes that."""
BEFORE_CHECK = f', "{CHECK}": "'.encode()
READ_AT_ONCE = 2**17
"""Bytes; a row has some ten thousand, and by default fewer are read at once."""
LONGEST_LINE = 64 * 2**20
"""Bytes; what is longer is no row."""


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
        """One line of JSON. Raises ValueError for what no reader would take for a row, NaN and infinities among it."""
        job = {name: _fields(v) if name in PARTS else v for name, v in _fields(self.job).items()}
        plain = {"schema": SCHEMA, "key": self.key, **_fields(self), "job": job}
        body = json.dumps(plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        Row.from_plain(orjson.loads(body))
        return f'{body[:-1].decode()}, "{CHECK}": "{zlib.crc32(body):08x}"}}'

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Row":
        """The row of a parsed line, also of an older schema: what it lacks or has as null gets its default.

        Raises NoRow, KeyError, TypeError or UserError for what is no row."""
        job, status = judged_job(plain["job"]), plain["status"]
        if status not in STATUSES:
            raise NoRow(f"its status is unknown: {str(status)[:50]}")
        if not 0 < (attempt := _of_kind(int, plain.get("attempt"), 1)) <= LARGEST:
            raise NoRow("its attempt is no number from 1 on")
        error, phase = (_of_kind(str, plain.get(name), "") for name in ("error", "phase"))
        values, facts = (judged_values(plain.get(name) or {}) for name in ("values", "provenance"))
        notes = [_of_kind(str, note, "") for note in _of_kind(list, plain.get("notes"), [])]
        if status == "ok" and (broken := defect(job, values)):  # of a svdsweep that did not look for it
            status, error = "defective", broken
        series = judged_series(plain.get("series") or {})
        return cls(job, status, attempt, error, phase, values, series, facts, notes)


def _fields(part: Any) -> dict[str, Any]:
    """The fields of a dataclass, as they are: `dataclasses.asdict` would copy all that is in them."""
    values = vars(part)
    return {name: values[name] for name in part.__dataclass_fields__}


def _of_kind(kind: type[T], value: Any, default: T) -> T:
    """A value of the one kind that it may have; what is missing or null has its default."""
    if value is None:
        return default
    if type(value) is not kind:
        raise NoRow(f"{type(value).__name__} stands where {kind.__name__} should")
    return value


class Store:
    """The rows of a sweep: `<folder>/rows/<host>-<pid>.jsonl`, append-only: safe on NFS, merged by copies."""

    def __init__(self, folder: Path, writer: str | None = None) -> None:
        self.folder = folder
        self.path = folder / "rows" / f"{writer or f'{socket.gethostname()}-{os.getpid()}'}.jsonl"
        self.faults = Faults()
        """What the last reading met beside rows."""
        self._read: dict[Path, _Read] = {}
        """What each file held: who resumes a sweep reads its old rows once."""

    def append(self, row: Row, line: str = "") -> None:
        """Write a row and wait until it is on the disk; `line` is what its `to_json` gave where it was made.

        Raises OSError when it cannot be written."""
        line = (line or row.to_json()) + "\n"
        with self._opened() as f:
            if f.tell():
                f.seek(-1, os.SEEK_END)
                if f.read(1) != b"\n":
                    f.write(b"\n")  # an earlier writer of the same name died in mid-line
            f.write(line.encode())
            f.flush()
            os.fsync(f.fileno())

    def _opened(self) -> BinaryIO:
        """The writer's file, made with the first row; whatever is read of it, all that is written goes to the end."""
        try:
            return self.path.open("a+b")
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.path.open("a+b")

    def rows(self) -> dict[str, Row]:
        """The row that counts of each job by key; lines that are no rows are passed over, and counted in `faults`."""
        before, self._read = self._read, {}
        for path in _row_files(self.folder):
            status = path.stat()
            stamp, known = (status.st_size, status.st_mtime_ns), before.get(path)
            if known is None or known.stamp != stamp:
                known = _Read(stamp)
                known.rows += _rows_in(path, known.faults, known.end)
            self._read[path] = known
        self.faults = sum((read.faults for read in self._read.values()), Faults())
        return last_rows(row for read in self._read.values() for row in read.rows)

    def tail(self, but: str = "") -> "Tail":
        """What is new since `rows` was called, less what the caller writes to the file `but`."""
        tail = Tail(self.folder, but)
        tail.goes_on_from({path: read.end for path, read in self._read.items()})
        return tail


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
class _End:
    """How far a file was read: the bytes and the number of its whole lines, for the last may be under way."""

    size: int = 0
    lines: int = 0


@dataclass
class _Read:
    """What a file of rows held when its size and time of change (`stamp`) were these."""

    stamp: tuple[int, int]
    rows: list[Row] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    end: _End = field(default_factory=_End)


def rows_of(lines: Iterable[bytes], faults: Faults, place: str = "", before: int = 0) -> Iterator[Row]:
    """The row of each line; a line that is none is passed over and counted. The one way from a line to a row.

    `place` is the lines' file and `before` how many of its lines were read already; both are for `faults`."""
    for number, line in enumerate(lines, before + 1):
        if not line.strip():
            continue
        try:
            plain = orjson.loads(line)
            if not isinstance(plain, dict):
                raise NoRow("it is no object")
            if _of_kind(int, schema := plain.get("schema"), SCHEMA) > SCHEMA:
                raise NoRow("a newer svdsweep wrote it")
            if _is_altered(line, plain):
                raise NoRow("it was altered after it was written")
            row = Row.from_plain(plain)
        except (ValueError, KeyError, TypeError, UserError) as e:
            faults.passed_over(f"{place} line {number}", _why(e))
            continue
        faults.other_schema += schema != SCHEMA
        yield row


def _is_altered(line: bytes, plain: Mapping[str, Any]) -> bool:
    """Whether a line is not what its checksum says; one without any, of an older version, is not.

    A line that another program wrote again, with other blanks, has the checksum of what it says."""
    if (told := plain.get(CHECK)) is None:
        return False
    end = line.rfind(BEFORE_CHECK)
    if told == f"{zlib.crc32(b'}', zlib.crc32(line[:end])):08x}":
        return False
    rest = {name: value for name, value in plain.items() if name != CHECK}
    body = json.dumps(rest, ensure_ascii=False).encode()
    return bool(told != f"{zlib.crc32(body):08x}")


def _why(e: Exception) -> str:
    """What is wrong with a line, in a few words."""
    if isinstance(e, orjson.JSONDecodeError):
        return "torn, or no JSON"
    return f"it lacks {e}" if isinstance(e, KeyError) else str(e)[:200]


def read_rows(folder: Path, faults: Faults | None = None) -> Iterator[Row]:
    """Every readable row of a sweep, all attempts, a later file's after an earlier one's; `faults` are added to."""
    faults = faults or Faults()
    for path in _row_files(folder):
        yield from _rows_in(path, faults, _End())


def _row_files(folder: Path) -> list[Path]:
    """The files of a sweep's rows; the one that was written to last comes last."""
    return sorted(files_in(folder, "rows"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def _rows_in(path: Path, faults: Faults, end: _End) -> Iterator[Row]:
    """The rows of a file; `end` is moved to the end of its whole lines."""
    with path.open("rb", buffering=READ_AT_ONCE) as file:
        yield from rows_of(_lines_in(file, end), faults, f"rows/{path.name}")


def _lines_in(file: BinaryIO, end: _End) -> Iterator[bytes]:
    at = 0
    for line in iter(partial(file.readline, LONGEST_LINE), b""):
        at += len(line)
        if line.endswith(b"\n"):
            end.size, end.lines = at, end.lines + 1
        yield line


class Tail:
    """What is new in `<folder>/rows/*.jsonl` since the last look; whole lines only. Of the file `but`, which the caller
    writes, only what is there at the first look."""

    def __init__(self, folder: Path, but: str = "") -> None:
        self.folder, self.but = folder, but
        self.faults = Faults()
        self._read_to: dict[Path, _End] = {}
        self._looked = False

    def goes_on_from(self, ends: Mapping[Path, _End]) -> None:
        """Take what lies before the ends of these files as seen, and this as the first look."""
        self._read_to, self._looked = {path: replace(end) for path, end in ends.items()}, True

    def new(self) -> Iterator[Row]:
        """The rows that have been added; lines that are none are passed over, and counted in `faults`."""
        for name in names_in(self.folder, "rows"):
            if name == self.but and self._looked:
                continue
            path = self.folder / "rows" / name
            end = self._read_to.setdefault(path, _End())
            if path.stat().st_size <= end.size:
                continue
            with path.open("rb") as f:
                f.seek(end.size)
                data = f.read()
            whole, count = data[: data.rfind(b"\n") + 1], end.lines
            lines = whole.split(b"\n")[:-1]
            end.size, end.lines = end.size + len(whole), count + len(lines)
            yield from rows_of(lines, self.faults, f"rows/{name}", count)
        self._looked = True
