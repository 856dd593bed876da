"""Lines of row files to jobs and their outcomes: what a line shares with lines before it is not parsed again.

A line as `Row.to_json` writes it is cut where the names of its parts stand; inside a JSON text a quote is escaped, so
they are found only there. What does not fit the cut is parsed as a whole, and decided there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from svdsweep.config import Job, job_from
from svdsweep.config.keys import CANONICAL, canonical
from svdsweep.config.rules import check
from svdsweep.errors import UserError
from svdsweep.store.columns import asked_for
from svdsweep.store.rows import FINAL, OWN, PARTS, SCHEMA, Scalar, row_files

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, UserError)
READ_AT_ONCE = 2**20
"""Bytes; with Python's own 8 KiB a line of 10 KB is put together from pieces."""
KEPT = 10_000
"""Texts whose meaning is remembered: a sweep has few models, strategies and settings beside its seeds."""

SEED = Job.__dataclass_fields__["seed"]
DEFAULT = Job()


class Line(NamedTuple):
    """A row as the tables need it: a `Row` without its series but `total_s`."""

    job: Job
    settings: Mapping[str, Scalar]
    """The columns that the parts of the job decide; equal parts mostly share one object."""
    schema: Any
    status: str
    attempt: int
    error: str
    phase: str
    values: dict[str, Any]
    provenance: dict[str, Any]
    runs: list[float]
    """Raw `total_s`."""
    notes: list[str]

    @property
    def key(self) -> str:
        """The job's key."""
        return self.job.key

    @property
    def final(self) -> bool:
        """Whether the job is done with."""
        return self.status in FINAL


def read_lines(folder: Path, problems: list[str]) -> Iterator[Line]:
    """Every readable row of all files, the older file's first; what is damaged is counted and told at the end."""
    damaged, older = 0, 0
    for path in row_files(folder):
        with path.open("rb", buffering=READ_AT_ONCE) as texts:
            for text in texts:
                if text.isspace():
                    continue
                try:
                    try:
                        line = quickly(text)
                    except UNREADABLE:
                        line = plainly(text)
                except UNREADABLE:
                    damaged += 1
                    continue
                older += line.schema != SCHEMA
                yield line
    if damaged:
        problems.append(
            f"{damaged} {'line' if damaged == 1 else 'lines'} of rows/ cannot be read (torn or of a foreign "
            "schema) and are left out"
        )
    if older:
        problems.append(f"{older} rows are of another schema than {SCHEMA}: what they lack is empty")


def plainly(text: bytes) -> Line:
    """The row of any line. Raises one of `UNREADABLE` for what is none."""
    plain = orjson.loads(text)
    job = job_from(plain["job"])
    levels = {name: dict(plain.get(name) or {}) for name in ("values", "series", "provenance")}
    return _line(job, _settings(job), plain | levels)


def quickly(text: bytes) -> Line:
    """The same of a line as `Row.to_json` writes it. Raises one of `UNREADABLE` for any other."""
    job_at = text.index(b', "job": {')
    seed_at = text.index(b', "seed": ', job_at)
    own_at = text.index(b', "', seed_at + 2)
    parts_at = text.index(b', "memory": {', own_at)
    baseline_at = text.index(b', "baseline": "', parts_at)
    outcome_at = text.index(b'}, "status": "', baseline_at)
    values_at = text.index(b', "values": {', outcome_at)
    series_at = text.index(b'}, "series": {', values_at)
    provenance_at = text.rindex(b'}, "provenance": {', series_at)
    notes_at = text.rindex(b'}, "notes": [', provenance_at)
    # what is added to a place below is the length of the name that stands there
    likes = _likes(text[job_at + 9 : seed_at], text[own_at:parts_at], text[parts_at:baseline_at])
    seed = orjson.loads(text[seed_at + 10 : own_at])
    baseline = orjson.loads(text[baseline_at + 14 : outcome_at])
    plain = orjson.loads(text[:job_at] + text[outcome_at + 1 : values_at] + text[notes_at + 1 :])
    plain["values"] = orjson.loads(text[values_at + 12 : series_at + 1])
    if text.startswith(b'{"total_s": [', series_at + 13):  # the first series, and the only one that is wanted
        plain["series"] = {"total_s": orjson.loads(text[series_at + 25 : text.index(b"]", series_at) + 1])}
    else:
        plain["series"] = orjson.loads(text[series_at + 13 : provenance_at + 1])
    plain["provenance"] = orjson.loads(text[provenance_at + 17 : notes_at + 1])
    return _line(_job(likes, seed, baseline), likes.settings, plain)


def _line(job: Job, settings: Mapping[str, Scalar], plain: Mapping[str, Any]) -> Line:
    return Line(
        job,
        settings,
        plain.get("schema"),
        str(plain.get("status")),
        int(plain.get("attempt", 1)),
        str(plain.get("error") or ""),
        str(plain.get("phase") or ""),
        plain["values"],
        plain["provenance"],
        [v for v in plain["series"].get("total_s", []) if isinstance(v, int | float)],
        [str(note) for note in plain.get("notes") or []],
    )


@dataclass(frozen=True)
class _Likes:
    """All jobs that differ in seed and baseline alone: their fields, and what `digest` would hash around the seed."""

    fields: dict[str, Any]
    settings: Mapping[str, Scalar]
    before: str
    after: str


@lru_cache(KEPT)
def _likes(head: bytes, own: bytes, tail: bytes) -> _Likes:
    """Of a job's text before its seed, of its own settings, and of that from its strategy to its baseline."""
    parts, part_texts, settings = _parts(head, tail)
    values, own_texts = _own(own)
    job = Job(**parts, **values)
    texts = sorted((part_texts | own_texts).items())
    before, after = (",".join(t for name, t in texts if (name < "seed") is first) for first in (True, False))
    return _Likes(vars(job), settings, before, after)


@lru_cache(KEPT)
def _parts(head: bytes, tail: bytes) -> tuple[dict[str, Any], dict[str, str], dict[str, Scalar]]:
    """The parts of a job, their texts in its canonical form, and the columns that they decide."""
    plain = orjson.loads(head + b"}") | orjson.loads(b"{" + tail[2:] + b"}")
    if not plain.keys().isdisjoint(OWN):
        raise ValueError("a setting stands where it is not looked for")
    job = job_from(plain)
    texts = {name: f'"{name}":{CANONICAL.encode(value)}' for name, value in canonical(job).items()}
    return {name: getattr(job, name) for name in PARTS}, texts, _settings(job)


@lru_cache(KEPT)
def _own(text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of a job that belong to no part, not checked yet, and their texts; without seed and baseline."""
    plain = orjson.loads(b"{" + text[2:] + b"}")
    if not plain.keys().isdisjoint((*PARTS, "seed", "baseline")):
        raise ValueError("a part stands where it is not looked for")
    values = {name: plain[name] for name in OWN if name in plain}
    return values, {n: f'"{n}":{CANONICAL.encode(v)}' for n, v in values.items() if v != getattr(DEFAULT, n)}


def _job(likes: _Likes, seed: Any, baseline: str) -> Job:
    """One of them. Its checks were made with theirs, but the seed's; its key is hashed from theirs."""
    if type(seed) is not int:
        raise ValueError("a seed is a whole number")
    check("seed", seed, SEED.metadata["rule"])
    own = f'"seed":{seed}' if seed != SEED.default else ""
    whole = ",".join(text for text in (likes.before, own, likes.after) if text)
    job = object.__new__(Job)
    vars(job).update(
        likes.fields, seed=seed, baseline=baseline, key=sha256(f"{{{whole}}}".encode()).hexdigest()[:12]
    )
    return job


def _settings(job: Job) -> dict[str, Scalar]:
    return {name: value for name, value in asked_for(job).items() if name not in OWN}
