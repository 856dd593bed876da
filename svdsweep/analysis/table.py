"""One line a row: the table that comparisons read, and what they derive of each row for it."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import pandas as pd

from svdsweep.config import Job
from svdsweep.probes.latency import ROUND
from svdsweep.probes.statistics import degrees_of_freedom
from svdsweep.store.columns import asked_for, differing, identity
from svdsweep.store.columns import varying as varying_of
from svdsweep.store.rows import Row

SETTINGS = tuple(asked_for(Job()))
SHORTEST_S, LONGEST_S = 1e-9, 1e9
RECORDS_AT_ONCE = 500
LEAST_ROUNDS = 3
"""From so many on a round counts as one sample: its runs share a state of the machine."""
DRAWS = ("seed", "image")
"""What is averaged over, and what pairs are matched by."""


def table_of(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """One line a record; its columns stand in the order in which they first appear, and what a record lacks is NaN.

    The table is built by column, some records at a time: a dictionary a line would take seven times the room."""
    columns: dict[str, list[Any]] = {}
    number, records = 0, iter(records)
    while some := list(islice(records, RECORDS_AT_ONCE)):
        for name in dict.fromkeys(chain.from_iterable(some)):
            columns.setdefault(name, [math.nan] * number)
        missing = dict.fromkeys(columns, math.nan)
        lines = [(missing | record).values() for record in some]
        for column, values in zip(columns.values(), zip(*lines, strict=True), strict=True):
            column += values
        number += len(some)
    return pd.DataFrame(columns)


def comparison(rows: Collection[Row]) -> pd.DataFrame:
    """The table of a sweep's rows that comparisons read, one line a job: what it asked for and how it ended, its
    provenance and values, and columns of their own: its baseline's key, its machine, its workload, and its timed runs
    on the logarithm, of which those of a round count as one from three rounds on."""
    if not rows:
        return pd.DataFrame(columns=["key", "status"])
    with_chunk = "decode_chunk_size" in varying_of(row.job for row in rows)
    return table_of(for_comparison(row, with_chunk) for row in rows)


def for_comparison(row: Row, with_chunk: bool = False) -> dict[str, Any]:
    """The line of one row; `with_chunk` as in `workload`."""
    runs, rounds = timed_runs(row), means_of_rounds(row)
    samples = [math.exp(mean) for mean in rounds.values()] if len(rounds) >= LEAST_ROUNDS else runs
    mean, variance = mean_and_variance(samples)
    looked = None if len(rounds) >= LEAST_ROUNDS else row.job.measure.first_look
    return {
        **identity(row),
        **asked_for(row.job),
        **row.provenance,
        **row.values,
        "baseline_key": row.job.baseline or None,
        "machine": machine(row.provenance),
        "workload": workload(row.job, with_chunk),
        "log_total_s": mean,
        "log_total_s_variance": variance,
        "log_total_s_n": len(samples),
        "log_total_s_degrees": degrees_of_freedom(len(samples), looked),
        "log_total_s_of_rounds": rounds,
        "repeats": len(runs),
    }


def timed_runs(row: Row) -> list[float]:
    """The raw `total_s` of a row, without what is longer than any run."""
    runs = (seconds for seconds in row.series.get("total_s", []) if isinstance(seconds, int | float))
    return [seconds for seconds in runs if abs(seconds) < LONGEST_S]


def means_of_rounds(row: Row) -> dict[int, float]:
    """The mean logarithm of the timed runs of each round, by its number; none where there were no rounds."""
    runs, numbers = timed_runs(row), row.series.get(ROUND, [])
    if len(runs) != len(numbers) or not all(isinstance(number, int) for number in numbers):
        return {}
    seconds: dict[int, list[float]] = {}
    for number, s in zip(numbers, runs, strict=True):
        seconds.setdefault(number, []).append(s)
    means = {number: mean_and_variance(of_round)[0] for number, of_round in seconds.items()}
    return {number: mean for number, mean in means.items() if mean is not None}


def mean_and_variance(values: list[float]) -> tuple[float | None, float | None]:
    """Mean and variance of the logarithms of the values that a run can have taken; the variance from two of them on."""
    logs = [math.log(v) for v in values if v > SHORTEST_S]
    if not logs:
        return None, None
    mean = math.fsum(logs) / len(logs)
    return mean, math.fsum([(v - mean) ** 2 for v in logs]) / (len(logs) - 1) if len(logs) > 1 else None


def machine(provenance: Mapping[str, Any]) -> str:
    """What a row ran on: its GPU, else its processor and the number of its threads."""
    if gpu := provenance.get("gpu"):
        return str(gpu)
    threads = provenance.get("threads")
    on = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    return str(provenance.get("cpu") or provenance.get("device") or "unknown") + on


def workload(job: Job, with_chunk: bool = False) -> str:
    """All that decides a job's cost beside its strategy; `decode_chunk_size` too where strategies were tried with
    several."""
    model, limit = job.model, job.gpu.memory_limit_gib
    facts = {
        f"{model.name} {model.dtype}": True,
        f"{job.num_frames} × {job.width}×{job.height} px": True,
        f"{job.num_inference_steps} steps": True,
        "no guidance": job.max_guidance_scale <= 1,
        f"decode_chunk_size {job.decode_chunk_size}": with_chunk,
        "random weights": model.weights == "random",
        f"at most {limit or 0:g} GiB": limit is not None,
    }
    return ", ".join(fact for fact, holds in facts.items() if holds)


def varying(table: pd.DataFrame) -> list[str]:
    """The settings in which the jobs of a table differ, as `store.columns.differing` tells them."""
    return differing({name: table[name].tolist() for name in SETTINGS if name in table})


def decided_by(table: pd.DataFrame, setting: str, name: str) -> bool:
    """Whether each value of `setting` goes with one value of `name` only; seeds and images are never decided."""
    return name not in DRAWS and bool((table.groupby(setting)[name].nunique(dropna=False) <= 1).all())


def numeric(column: pd.Series) -> pd.Series:
    """A column as numbers, what is none as missing."""
    return pd.to_numeric(column, errors="coerce")


def first_measured(table: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """The first of some columns that holds a number; None where none does."""
    return next((name for name in columns if name in table and numeric(table[name]).notna().any()), None)
