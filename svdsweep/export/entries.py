"""From rows to what a tracker is given: settings, numbers, series, words, and the files beside them."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from svdsweep.config import Job
from svdsweep.export.contract import Entry
from svdsweep.store.columns import asked_for, varying
from svdsweep.store.kinds import Scalar
from svdsweep.store.labels import told_apart
from svdsweep.store.places import file_of
from svdsweep.store.rows import WHOLE, Row
from svdsweep.store.secrets import masked, masked_row
from svdsweep.terminal import cell, on_one_line

FILES = ("video", "contact_sheet")
"""Values that are the names of files, which are given instead."""
LONGEST = 5_000
"""Characters of a text; MLflow takes no more than 6,000."""
LONGEST_NAME = 200
LONGEST_S = 1e9
UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)


class Entries:
    """The entries of a sweep, whose jobs must be known beforehand, as their names tell what sets them apart."""

    def __init__(self, folder: Path, jobs: Iterable[Job]) -> None:
        self._folder = folder
        self._jobs = {job.key: job for job in told_apart(list(jobs))}
        self._varying = varying(self._jobs.values())

    def of(self, row: Row) -> Entry:
        """The entry of a row."""
        job = self._jobs.get(row.key, row.job)
        shown = masked_row(row)
        asked = {name: _short(value) for name, value in asked_for(job).items() if value is not None}
        words = {n: v for n, v in {**shown.provenance, **shown.values}.items() if n not in FILES}
        found = (file_of(self._folder, place, row.key) for place in ("videos", "sheets"))
        return Entry(
            key=row.key,
            version=_version(row),
            name=self._name(asked) or row.key,
            status=row.status,
            whole=row.status in WHOLE,
            began=_began(row),
            took_s=_took_s(row),
            settings=asked,
            metrics={n: number for n, v in shown.values.items() if (number := _number(v)) is not None},
            series=dict(_series(row.series)),
            tags=_tags(row, words),
            notes=_notes(shown),
            files=[path for path in found if path],
        )

    def _name(self, asked: Mapping[str, Scalar]) -> str:
        told = (f"{name}={cell(asked.get(name))}" for name in self._varying)
        return on_one_line(", ".join(told))[:LONGEST_NAME]


def _version(row: Row) -> str:
    """The first digits of the hash of what came of the job, the same before it is stored and after it is read."""
    told = {name: value for name, value in vars(row).items() if name != "job"}
    return sha256(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:12]


def _short(value: Scalar) -> Scalar:
    return masked(value)[:LONGEST] if isinstance(value, str) else value


def _number(value: object) -> float | None:
    """A finite number; None for anything else, also for yes and no."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _series(series: Mapping[str, Sequence[Any]]) -> Iterable[tuple[str, list[tuple[int, float]]]]:
    """Each list of numbers by its name, those of several runs as `name/run1`, `name/run2`."""
    for name, values in series.items():
        nested = any(isinstance(value, list) for value in values)
        parts = {f"{name}/run{i}": part for i, part in enumerate(values, 1)} if nested else {name: values}
        for path, part in parts.items():
            known = [(i, number) for i, v in enumerate(part or ()) if (number := _number(v)) is not None]
            if known:
                yield f"series/{path}", known


def _tags(row: Row, values: Mapping[str, Scalar]) -> dict[str, str]:
    """The status and every word; numbers of the provenance too, which are facts of the machine and no results."""
    told = row.values
    words = {n: v for n, v in values.items() if v is not None and (n not in told or _number(v) is None)}
    facts = {"status": row.status, "phase": row.phase, "weights": row.job.model.weights, **words}
    return {
        n: (str(v).lower() if isinstance(v, bool) else str(v))[:LONGEST] for n, v in facts.items() if v != ""
    }


def _notes(row: Row) -> str:
    """The notes, and the error as a block of code, which nothing in it can end."""
    notes = "\n".join(f"* {on_one_line(note)}" for note in row.notes)
    error = "\n".join(f"    {line}" for line in row.error.splitlines())
    return "\n\n".join(part for part in (notes, error) if part)[:LONGEST]


def _took_s(row: Row) -> float:
    parts = (row.values.get(name) for name in ("load_s", "compile_s", "warmup_s", "judge_s"))
    known = map(_number, [*parts, *row.series.get("total_s", [])])
    return min(sum(s for s in known if s is not None), LONGEST_S)


def _began(row: Row) -> datetime:
    """When the job began, by its row; 1970 where that does not tell."""
    try:
        told = datetime.fromisoformat(str(row.values.get("started_at") or row.provenance["started_at"]))
        return told.astimezone(UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return UNKNOWN
