"""Tidy tables: jobs (wide), metrics and series (long, with units), and what columns mean.

`results.csv` of the sweep is `jobs.csv` here. Text that a spreadsheet would take for a formula has an apostrophe."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from svdsweep.analysis.files import inert, raw_series, results
from svdsweep.metrics import CATALOGUE
from svdsweep.store.files import renamed_when_done
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.rows import Row
from svdsweep.store.secrets import masked_row

UNITS = {
    "_s": "s",
    "_gib": "GiB",
    "_db": "dB",
    "_px": "px",
    "_255": "of 255",
    "_j": "J",
    "_w": "W",
    "_mhz": "MHz",
    "_c": "°C",
    "_pct": "%",
}
"""The unit at the end of a name, for names that the catalogue lacks."""


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the tables of a sweep's rows anew; returns their paths. The same rows make the same bytes."""
    rows = [masked_row(row) for row in rows_told_apart(rows)]
    jobs = results(rows)
    tables = {
        "jobs": jobs,
        "metrics": _metrics(rows),
        "series": _with_units(raw_series(rows), "name"),
        "columns": _columns(jobs),
    }
    for name, table in tables.items():
        with renamed_when_done(folder / f"{name}.csv") as part:
            inert(table).astype(object).to_csv(part, index=False, lineterminator="\n")
    return [folder / f"{name}.csv" for name in tables]


def _metrics(rows: Sequence[Row]) -> pd.DataFrame:
    """One line a number: key, metric, value, unit."""
    numbers = [
        (row.key, name, float(value))
        for row in rows
        for name, value in row.values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return _with_units(pd.DataFrame(numbers, columns=["key", "metric", "value"]), "metric")


def _columns(jobs: pd.DataFrame) -> pd.DataFrame:
    """What each column of numbers means: unit, better end, bounds, and what it does not see."""
    told = [asdict(CATALOGUE[name]) for name in jobs.columns if name in CATALOGUE]
    names = ["name", "unit", "better", "low", "high", "help", "blind_to"]
    return pd.DataFrame(told, columns=names)


def _with_units(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.assign(unit=table[column].map({name: _unit(name) for name in table[column].unique()}))


def _unit(name: str) -> str:
    if name in CATALOGUE:
        return CATALOGUE[name].unit
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
