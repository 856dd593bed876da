"""The wide table: one row a line of the row files, its columns of the types that pandas finds for them."""

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from svdsweep.analysis.lines import Line
from svdsweep.config import Job
from svdsweep.store.columns import asked_for
from svdsweep.store.rows import OWN

IDENTITY = ("key", "status", "attempt", "error", "phase")
ASKED = tuple(asked_for(Job()))
ASKED_OF_OWN = tuple(name for name in ASKED if name in OWN)
DERIVED = ("baseline_key", "machine", "workload", "log_total_s", "log_total_s_variance", "repeats")
PACKED_AT_ONCE = 500
"""Lines; a column of so many is still in the processor's cache."""

Array = npt.NDArray[Any]
Piece = tuple[Array, Array]
"""Of a column: numbers of rows, and as many values, or one that they share."""

_own = itemgetter(*ASKED_OF_OWN)


class Table:
    """Lines on their way into a table of `IDENTITY`, `ASKED`, their provenance and values, and `DERIVED`; of two
    columns of one name the later counts.

    A hundred thousand dictionaries of 170 columns would take seconds and gigabytes. So lines of equal columns are kept
    together, packed by column; and what the parts of a job decide is kept once for all lines that share it."""

    def __init__(self) -> None:
        self._alike: dict[tuple[tuple[str, ...], tuple[str, ...]], _Alike] = {}
        self._settings: list[Mapping[str, Any]] = []
        self._code_of: dict[int, int] = {}
        self._codes: list[int] = []

    def add(self, line: Line) -> None:
        """One more line."""
        names = tuple(line.provenance), tuple(line.values)
        alike = self._alike.get(names)
        if alike is None:
            alike = self._alike[names] = _Alike(*names)
        alike.add(len(self._codes), line)
        code = self._code_of.setdefault(id(line.settings), len(self._settings))
        if code == len(self._settings):
            self._settings.append(line.settings)  # kept, so that its id stays its own
        self._codes.append(code)

    def table(self) -> pd.DataFrame:
        """All lines in their order; without any, the columns `key` and `status`."""
        if not self._codes:
            return pd.DataFrame(columns=["key", "status"])
        codes = np.array(self._codes)
        packed = [alike.packed() for alike in self._alike.values()]
        columns = {}
        for name in dict.fromkeys(name for alike in self._alike.values() for name in alike.all_names):
            pieces = [piece for columns_of in packed for piece in columns_of.pop(name, [])]
            if sum(len(at) for at, _ in pieces) < len(codes) and name in ASKED:
                decided = _objects([settings[name] for settings in self._settings])
                if not pieces:
                    columns[name] = _inferred(decided, codes)
                    continue
                pieces = [(np.arange(len(codes)), decided[codes]), *pieces]
            columns[name] = _column(len(codes), pieces)
        return pd.DataFrame(columns)


class _Alike:
    """Lines of the same columns."""

    def __init__(self, provenance: Sequence[str], values: Sequence[str]) -> None:
        self.all_names = (*IDENTITY, *ASKED, *provenance, *values, *DERIVED)
        self._names = (*IDENTITY, *ASKED_OF_OWN, *provenance, *values, *DERIVED)
        self._numbers: list[int] = []
        self._records: list[tuple[Any, ...]] = []
        self._packed: dict[str, list[Piece]] = {name: [] for name in self._names}

    def add(self, number: int, line: Line) -> None:
        """The line that is the table's row of this number."""
        job, runs, ran = line.job, line.runs, machine(line.provenance)
        identity = job.key, line.status, line.attempt, line.error, line.phase
        derived = job.baseline or None, ran, workload(job), *mean_and_variance(runs), len(runs)
        self._numbers.append(number)
        self._records.append(
            (*identity, *_own(vars(job)), *line.provenance.values(), *line.values.values(), *derived)
        )
        if len(self._records) == PACKED_AT_ONCE:
            self._pack()

    def packed(self) -> dict[str, list[Piece]]:
        """Of each column its pieces."""
        if self._records:
            self._pack()
        return self._packed

    def _pack(self) -> None:
        at = np.array(self._numbers, int)
        columns = dict(zip(self._names, zip(*self._records, strict=True), strict=True))
        for name, values in columns.items():
            self._packed[name].append((at, _values(values)))
        self._numbers, self._records = [], []


def _values(values: Sequence[Any]) -> Array:
    """The values as an array: floats as such, one object where all are the same, else objects as they are."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return np.array(values)
    if len(kinds) == 1 and values.count(values[0]) == len(values):
        return _objects(values[:1])
    return _objects(values)


def _objects(values: Sequence[Any]) -> Array:
    """An array of the values as they are, also of lists."""
    return np.fromiter(values, object, len(values))


def _column(length: int, pieces: Sequence[Piece]) -> Any:
    """A column of its pieces; where there is none, the value is not known."""
    if all(len(values) == 1 for _, values in pieces):
        codes = np.full(length, len(pieces))
        for code, (at, _) in enumerate(pieces):
            codes[at] = code
        unknown = [np.nan] if sum(len(at) for at, _ in pieces) < length else []
        return _inferred(_objects([*(values[0] for _, values in pieces), *unknown]), codes)
    plain = all(values.dtype == float for _, values in pieces)
    column = np.full(length, np.nan, float if plain else object)
    for at, values in pieces:
        column[at] = values
    return column if plain else pd.Series(column).infer_objects().array


def _inferred(objects: Array, codes: Array) -> Any:
    """The object of each code, in an array of the type that pandas finds for the objects."""
    return pd.Series(objects).infer_objects().array.take(codes)


def mean_and_variance(values: list[float]) -> tuple[float | None, float | None]:
    """Of the logarithms; the variance from two values on."""
    logs = [math.log(v) for v in values if v > 0]
    if not logs:
        return None, None
    mean = math.fsum(logs) / len(logs)
    return mean, math.fsum([(v - mean) ** 2 for v in logs]) / (len(logs) - 1) if len(logs) > 1 else None


def machine(provenance: Mapping[str, Any]) -> Any:
    """What a line ran on: its GPU, else its processor."""
    return provenance.get("gpu") or provenance.get("cpu") or provenance.get("device") or "unknown"


def workload(job: Job) -> str:
    """All that decides a job's cost beside its strategy."""
    limit = job.gpu.memory_limit_gib
    cost = (
        f"{job.model.name} {job.model.dtype}, {job.num_frames} × {job.width}×{job.height} px, "
        f"{job.num_inference_steps} steps"
    )
    if job.model.weights == "random":
        cost += ", random weights"
    return cost + (f", at most {limit:g} GiB" if limit is not None else "")
