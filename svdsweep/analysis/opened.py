"""A sweep's folder as one wide table, however it was left: torn rows, older schemas and missing files are told."""

import gc
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from svdsweep.analysis.columns import asked_for
from svdsweep.config import Gpu, Image, Job, Measure, Memory, Metrics, Model
from svdsweep.identity import CANONICAL, canonical, rebuild
from svdsweep.schema import UserError
from svdsweep.store import SCHEMA, Row, last_rows

CHUNK = 5_000
"""Rows turned into columns at once: as dictionaries they would take ten times the room."""
PARTS: dict[str, Any] = {
    "model": Model,
    "image": Image,
    "memory": Memory,
    "measure": Measure,
    "metrics": Metrics,
    "gpu": Gpu,
}


@dataclass(frozen=True)
class Sweep:
    """A folder of rows, read. `table` has one line a job: the flat columns, and those of `derived`."""

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

    @property
    def name(self) -> str:
        """The sweep's name: its manifest's, else its folder's."""
        return str(self.manifest.get("name") or self.folder.resolve().name)

    @cached_property
    def ok(self) -> pd.DataFrame:
        """The jobs that ended well."""
        return self.table[self.table["status"] == "ok"]

    @property
    def waiting(self) -> int:
        """Jobs of the last command that have no row yet."""
        return len(set(self.manifest.get("keys", [])) - set(self.jobs))

    @property
    def memory_column(self) -> str:
        """The peak that this sweep can tell: of VRAM, or of host memory where no GPU counted."""
        for name in ("vram_allocated_peak_gib", "vram_reserved_peak_gib"):
            if name in self.ok and self.ok[name].notna().any():
                return name
        return "host_ram_peak_gib"


def open_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder. Raises UserError when there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. A sweep's folder is runs/NAME, and holds rows/.")
    problems: list[str] = []
    manifest = _manifest(folder, problems)
    reader = _Reader(problems)
    light, chunks, pending = [], [], []
    repeats, notes = {}, {}
    with _no_garbage():
        for number, (job, plain) in enumerate(reader.rows(folder)):
            row = Row(job, str(plain.get("status")), int(plain.get("attempt", 1)), values={"at": number})
            light.append(row)
            pending.append(reader.line(row, plain))
            series = plain.get("series") or {}
            repeats[job.key] = [v for v in series.get("total_s", []) if isinstance(v, int | float)]
            notes[job.key] = [str(note) for note in plain.get("notes") or []]
            if len(pending) == CHUNK:
                chunks.append(pd.DataFrame(pending))
                pending = []
        if pending:
            chunks.append(pd.DataFrame(pending))
    best = last_rows(light)
    table = pd.concat(chunks, ignore_index=True) if chunks else pd.DataFrame(columns=["key", "status"])
    table = table.iloc[[int(row.values["at"] or 0) for row in best.values()]].reset_index(drop=True)
    _check_files(folder, table, problems)
    if table.empty:
        problems.append("there is no readable row in it")
    jobs = {key: row.job for key, row in best.items()}
    return Sweep(folder, manifest, table, jobs, repeats, notes, problems)


@contextmanager
def _no_garbage() -> Iterator[None]:
    """All that is read is kept: looking for garbage among a hundred thousand rows takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _manifest(folder: Path, problems: list[str]) -> Mapping[str, Any]:
    try:
        plain = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        problems.append(f"sweep.json cannot be read ({type(e).__name__}): the command is not known")
        return {}
    return plain if isinstance(plain, dict) else {}


def _check_files(folder: Path, table: pd.DataFrame, problems: list[str]) -> None:
    for column, what in (("video", "videos"), ("contact_sheet", "contact sheets")):
        names = [str(name) for name in table[column].dropna()] if column in table else []
        there = {p.name for p in (folder / ("videos" if column == "video" else "sheets")).glob("*")}
        lost = [name for name in names if name.rpartition("/")[2] not in there]
        if lost:
            problems.append(f"{len(lost)} {what} named by rows are missing, {lost[0]} for one")


class _Reader:
    """Lines to jobs, each distinct part built once: a sweep has few models and strategies and many jobs."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self._parts: dict[tuple[str, bytes], tuple[Any, str]] = {}
        self._asked: dict[tuple[int, ...], dict[str, Any]] = {}
        self._texts: dict[tuple[type, Any], str] = {}

    def rows(self, folder: Path) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Every readable row of all files, the older file's first; what is damaged is counted."""
        damaged, older = 0, 0
        for path in sorted((folder / "rows").glob("*.jsonl"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
            with path.open("rb") as lines:
                for line in lines:
                    if not line.strip():
                        continue
                    try:
                        plain = without_series(line)
                        job = self._job(plain["job"])
                    except (ValueError, KeyError, TypeError, AttributeError, UserError):
                        damaged += 1
                        continue
                    older += plain.get("schema") != SCHEMA
                    yield job, plain
        if damaged:
            self.problems.append(
                f"{damaged} {'line' if damaged == 1 else 'lines'} of rows/ cannot be read (torn or of a foreign "
                "schema) and are left out"
            )
        if older:
            self.problems.append(f"{older} rows are of another schema than {SCHEMA}: what they lack is empty")

    def _job(self, plain: dict[str, Any]) -> Job:
        built = {name: self._part(name, plain.get(name) or {}) for name in PARTS}
        own = {k: v for k, v in plain.items() if k in Job.__dataclass_fields__ and k not in PARTS}
        job = Job(**own, **{name: part for name, (part, _) in built.items()})
        texts = {name: text for name, (_, text) in built.items() if text}
        texts |= {k: self._text(v) for k, v in own.items() if k != "baseline" and v != _DEFAULTS[k]}
        whole = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts))  # what `digest` would encode
        vars(job)["key"] = hashlib.sha256(f"{{{whole}}}".encode()).hexdigest()[
            :12
        ]  # where cached_property keeps it
        return job

    def _text(self, value: Any) -> str:
        """A setting as `digest` encodes it."""
        at = type(value), value  # 1 and 1.0 are equal
        if at not in self._texts:
            self._texts[at] = CANONICAL.encode(value)
        return self._texts[at]

    def _part(self, name: str, plain: dict[str, Any]) -> tuple[Any, str]:
        at = name, orjson.dumps(plain)
        if at not in self._parts:
            part = rebuild(PARTS[name], plain)
            settings = canonical(part)
            self._parts[at] = part, CANONICAL.encode(settings) if settings else ""
        return self._parts[at]

    def line(self, row: Row, plain: dict[str, Any]) -> dict[str, Any]:
        """One line of the table."""
        job, values = row.job, plain.get("values") or {}
        runs = [v for v in (plain.get("series") or {}).get("total_s", []) if isinstance(v, int | float)]
        mean, variance = mean_and_variance(runs)
        provenance = plain.get("provenance") or {}
        return {
            "key": job.key,
            "status": row.status,
            "attempt": row.attempt,
            "error": str(plain.get("error") or ""),
            "phase": str(plain.get("phase") or ""),
            **self._asked_for(job),
            **provenance,
            **values,
            **derived(job, provenance),
            "log_total_s": mean,
            "log_total_s_variance": variance,
            "repeats": len(runs),
        }

    def _asked_for(self, job: Job) -> dict[str, Any]:
        at = tuple(id(getattr(job, name)) for name in PARTS)  # the parts live as long as this reader
        if at not in self._asked:
            self._asked[at] = asked_for(job)
        own = vars(job)
        return {**self._asked[at], **{name: own[name] for name in _ASKED_OF_OWN}}


_OWN = frozenset(Job.__dataclass_fields__) - frozenset(PARTS)
_ASKED_OF_OWN = tuple(name for name in asked_for(Job()) if name in _OWN)
_DEFAULTS = {name: getattr(Job(), name) for name in _OWN}


def without_series(line: bytes) -> dict[str, Any]:
    """The row of a line without its series but `total_s`: the per-frame values are most of it and take most of the
    time. Inside a JSON text a quote is escaped, so the names are found only where they stand."""
    begin = line.find(b', "series": {')
    end = line.find(b'}, "provenance": {', begin)
    if begin < 0 or end < 0:
        return dict(orjson.loads(line))
    plain = dict(orjson.loads(line[:begin] + line[end + 1 :]))
    runs = line.find(b'"total_s": [', begin, end)
    if runs >= 0:
        plain["series"] = {"total_s": orjson.loads(line[line.index(b"[", runs) : line.index(b"]", runs) + 1])}
    return plain


def mean_and_variance(values: list[float]) -> tuple[float | None, float | None]:
    """Of the logarithms; the variance from two values on."""
    logs = [math.log(v) for v in values if v > 0]
    if not logs:
        return None, None
    mean = math.fsum(logs) / len(logs)
    return mean, math.fsum((v - mean) ** 2 for v in logs) / (len(logs) - 1) if len(logs) > 1 else None


def derived(job: Job, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What jobs are grouped by: `baseline_key`; `machine` (GPU, else processor); `workload`, all that decides the cost
    beside the strategy."""
    limit = job.gpu.memory_limit_gib
    cost = (
        f"{job.model.name} {job.model.dtype}, {job.num_frames} × {job.width}×{job.height} px, "
        f"{job.num_inference_steps} steps"
    )
    if job.model.weights == "random":
        cost += ", random weights"
    return {
        "baseline_key": job.baseline or None,
        "machine": provenance.get("gpu") or provenance.get("cpu") or provenance.get("device") or "unknown",
        "workload": cost + (f", at most {limit:g} GiB" if limit is not None else ""),
    }
