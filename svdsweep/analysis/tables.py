"""Tidy tables by pandas, and the derived files of a sweep: results.csv, results.parquet, results.md."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from svdsweep.analysis.columns import LAST, flat, union, varying
from svdsweep.media import renamed_when_done
from svdsweep.store import Row

IN_MARKDOWN = 500
"""More rows than this are for scripts, not for readers of Markdown."""


def results(rows: Iterable[Row]) -> pd.DataFrame:
    """One line a job; columns as in `analysis.columns`; what is not known is missing."""
    tables = [flat(row) for row in rows]
    frame = pd.DataFrame(tables, columns=union(tables))
    return frame.convert_dtypes()


def raw_series(rows: Iterable[Row]) -> pd.DataFrame:
    """Repeats, steps and per-frame values in long form: key, name, index, value."""
    long = [
        {"key": row.key, "name": name, "index": i, "value": value}
        for row in rows
        for name, values in row.series.items()
        for i, value in enumerate(values)
        if isinstance(value, int | float)
    ]
    return pd.DataFrame(long, columns=["key", "name", "index", "value"])


def write_results(folder: Path, rows: Iterable[Row]) -> list[Path]:
    """Write the sweep's tables, each under a temporary name first; returns their paths."""
    rows = list(rows)
    frame = results(rows)
    writers: dict[str, Callable[[Path], Any]] = {
        "results.csv": lambda path: frame.to_csv(path, index=False),
        "results.parquet": lambda path: mixed_as_text(frame).to_parquet(path, index=False),
        "results.md": lambda path: path.write_text(markdown(rows), encoding="utf-8"),
        "series.parquet": lambda path: raw_series(rows).to_parquet(path, index=False),
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
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
