"""One line a row: the table that comparisons read, and what they derive of each row for it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from svdsweep.config import Job
from svdsweep.store.columns import asked_for, identity
from svdsweep.store.rows import Row


def table_of(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One line a record; its columns stand in the order in which they first appear, and what a record lacks is NaN.

    The table is built by column: a dictionary a line would take seven times the room."""
    columns: dict[str, list[Any]] = {}
    for number, record in enumerate(records):
        for name in record:
            if name not in columns:
                columns[name] = [math.nan] * number
        for name, values in columns.items():
            values.append(record.get(name, math.nan))
    return pd.DataFrame(columns)


def for_comparison(row: Row) -> dict[str, Any]:
    """What a job asked for and how it ended, its provenance and values, and columns that only comparisons need: its
    baseline's key, its machine, its workload, and its timed runs on the logarithm."""
    runs = timed_runs(row)
    mean, variance = mean_and_variance(runs)
    return {
        **identity(row),
        **asked_for(row.job),
        **row.provenance,
        **row.values,
        "baseline_key": row.job.baseline or None,
        "machine": machine(row.provenance),
        "workload": workload(row.job),
        "log_total_s": mean,
        "log_total_s_variance": variance,
        "repeats": len(runs),
    }


def timed_runs(row: Row) -> list[float]:
    """The raw `total_s` of a row."""
    return [seconds for seconds in row.series.get("total_s", []) if isinstance(seconds, int | float)]


def mean_and_variance(values: list[float]) -> tuple[float | None, float | None]:
    """Mean and variance of the logarithms of the positive values; the variance from two of them on."""
    logs = [math.log(v) for v in values if v > 0]
    if not logs:
        return None, None
    mean = math.fsum(logs) / len(logs)
    return mean, math.fsum([(v - mean) ** 2 for v in logs]) / (len(logs) - 1) if len(logs) > 1 else None


def machine(provenance: Mapping[str, Any]) -> str:
    """What a row ran on: its GPU, else its processor."""
    return str(provenance.get("gpu") or provenance.get("cpu") or provenance.get("device") or "unknown")


def workload(job: Job) -> str:
    """All that decides a job's cost beside its strategy."""
    model, limit = job.model, job.gpu.memory_limit_gib
    size = f"{job.num_frames} × {job.width}×{job.height} px"
    weights = ", random weights" if model.weights == "random" else ""
    cap = f", at most {limit:g} GiB" if limit is not None else ""
    return f"{model.name} {model.dtype}, {size}, {job.num_inference_steps} steps{weights}{cap}"


def numeric(column: pd.Series) -> pd.Series:
    """A column as numbers, what is none as missing."""
    return pd.to_numeric(column, errors="coerce")


def first_measured(table: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """The first of some columns that holds a number; None where none does."""
    return next((name for name in columns if name in table and numeric(table[name]).notna().any()), None)
