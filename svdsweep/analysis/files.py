"""Tidy tables by pandas, and the derived files of a sweep: results.csv, results.parquet, results.md."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from svdsweep.analysis.table import table_of
from svdsweep.store.columns import LAST, flat, union, varying
from svdsweep.store.files import renamed_when_done
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.rows import Row

FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)
IN_MARKDOWN = 500
"""More rows than this are for scripts, not for readers of Markdown."""
SERIES_AT_ONCE = 5_000
"""Rows whose series are one row group of series.parquet."""


def results(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a job, its columns as in `svdsweep.store.columns`; what is not known is missing."""
    table = table_of(map(flat, rows))
    return table[union([table.columns])].convert_dtypes()


def raw_series(rows: Iterable[Row]) -> pd.DataFrame:
    """Repeats, steps and per-frame values in long form: key, name, run, index, value; `run` is known where each run has
    several values, as steps have."""
    series: list[tuple[str, str, int | None]] = []
    value: list[float | None] = []
    lengths: list[int] = []
    for row in rows:
        for name, whole in row.series.items():
            nested = list in map(type, whole)
            for run, values in enumerate(whole) if nested else [(None, whole)]:
                series.append((row.key, name, run))
                lengths.append(len(values))
                value += values
    kinds = {"key": "str", "name": "str", "run": "Int64"}
    named = pd.DataFrame(series, columns=[*kinds]).astype(kinds)
    counts = np.array(lengths, int)
    index = np.arange(len(value)) - np.repeat(counts.cumsum() - counts, counts)
    long = named.take(np.repeat(np.arange(len(series)), counts)).reset_index(drop=True)
    long = long.assign(index=index, value=np.array(value, float))
    return long.dropna(subset="value", ignore_index=True)


def write_series(path: Path, rows: Sequence[Row]) -> None:
    """`raw_series` as Parquet, some rows at a time: those of a hundred thousand are 20 million lines."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.large_string()  # which pandas 2 cannot tell from a table without lines
    columns = {"key": text, "name": text, "run": pa.int64(), "index": pa.int64(), "value": pa.float64()}
    schema = pa.schema(columns, pa.Schema.from_pandas(raw_series([]), preserve_index=False).metadata)
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        for at in range(0, len(rows), SERIES_AT_ONCE):
            some = raw_series(rows[at : at + SERIES_AT_ONCE])
            writer.write_table(pa.Table.from_pandas(some, schema, preserve_index=False))


def inert(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for a CSV file: text that a spreadsheet would take for a formula has an apostrophe before it."""
    words = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name].dtype)]
    told = [name for name in words if any(map(_is_formula, frame[name].dropna().unique()))]
    return frame.assign(**{name: frame[name].map(_inert, na_action="ignore") for name in told})


def _inert(value: Any) -> Any:
    return f"'{value}" if _is_formula(value) else value


def _is_formula(value: Any) -> bool:
    return isinstance(value, str) and bool(FORMULA.match(value)) and not NUMBER.fullmatch(value)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """A table as Parquet. The file is opened here: Arrow takes each path for UTF-8, whatever the locale."""
    with path.open("wb") as file:
        frame.to_parquet(file, index=False)


def write_results(folder: Path, rows: Iterable[Row]) -> list[Path]:
    """Write the sweep's tables, each under a temporary name first; returns their paths."""
    rows = rows_told_apart(rows)
    frame = results(rows)
    writers: dict[str, Callable[[Path], Any]] = {
        # as objects, for pandas writes its own kinds of columns at half the speed
        "results.csv": lambda path: (
            inert(frame).astype(object).to_csv(path, index=False, lineterminator="\n")
        ),
        "results.parquet": lambda path: write_parquet(path, mixed_as_text(frame)),
        "results.md": lambda path: path.write_text(markdown(rows), encoding="utf-8", newline="\n"),
        "series.parquet": lambda path: write_series(path, rows),
    }
    for name, write in writers.items():
        with renamed_when_done(folder / name) as part:
            write(part)
    return [folder / name for name in writers]


def mixed_as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Parquet has one type a column; those that hold numbers and words (`decode_chunk_size`) become text."""
    mixed = [name for name in frame.columns if frame[name].dtype == object]
    return frame.assign(**{name: frame[name].map(lambda v: None if pd.isna(v) else str(v)) for name in mixed})


def markdown(rows: list[Row]) -> str:
    """A table for readers: what varies, how it ended, and every measurement that some job has."""
    shown = rows[:IN_MARKDOWN]
    tables = [flat(row) for row in shown]
    asked = varying(row.job for row in rows)
    measured = {name for row in shown for name, value in row.values.items() if isinstance(value, int | float)}
    columns = ["key", *asked, "status", *(n for n in union(tables) if n in measured and n not in LAST)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(table.get(name)) for name in columns) + " |" for table in tables]
    if len(rows) > len(shown):
        lines += ["", f"{len(rows) - len(shown)} more rows are in results.csv."]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
