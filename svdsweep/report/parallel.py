"""What the page's parallel coordinates show: an axis for each setting that varies, then for what was measured."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from svdsweep.analysis.sweep import Sweep
from svdsweep.config import Job
from svdsweep.config.rules import rules
from svdsweep.metrics import CATALOGUE
from svdsweep.report.words import has_value, shown

LINES_AT_MOST = 10_000
"""Jobs that are drawn; a browser redraws so many in a few frames of its screen."""
CELLS_AT_MOST = 120_000
"""Numbers in the page for it: columns beyond the first ones are there as far as they fit."""
PLACES = ("machine", "workload")
"""What is no setting, but differs between jobs."""
DIGITS = 5
RULES = {name: rule for name, (rule, _) in rules(Job).items()}
"""What each setting may be, by its name."""


def parallel(sweep: Sweep, columns: Sequence[str]) -> dict[str, Any] | None:
    """The axes and lines: `keys` and `bad` (the lines of jobs that did not end well), and `axes`, each with `name`,
    `unit`, `help`, whether it is `shown` at first (`columns` are), and `at`, a value a line: numbers, or places in
    `words`; None for what is missing. None where there are no two axes."""
    table = _lines(sweep.table)
    first = [name for name in (*PLACES, *columns) if name != "key" and _varies(table, name)]
    more = [name for name in CATALOGUE if name not in first and _varies(table, name)]
    room = max(0, CELLS_AT_MOST // max(1, len(table)) - len(first))
    axes = [_axis(table[name], name) | {"shown": name in first} for name in [*first, *more[:room]]]
    if len(axes) < 2:
        return None
    bad = [i for i, status in enumerate(table["status"]) if status != "ok"]
    left_out = len(sweep.table) - len(table)
    return {"keys": table["key"].tolist(), "bad": bad, "axes": axes, "left_out": left_out}


def _varies(table: pd.DataFrame, name: str) -> bool:
    return name in table and table[name].nunique(dropna=False) > 1


def _lines(table: pd.DataFrame) -> pd.DataFrame:
    """The jobs that are drawn: all, or what did not end well first, then some of the others, evenly spread."""
    if len(table) <= LINES_AT_MOST:
        return table
    well = table["status"] == "ok"
    first = table[~well].head(LINES_AT_MOST // 2)
    room, ok = LINES_AT_MOST - len(first), table[well]
    spread = [i * len(ok) // room for i in range(room)] if len(ok) > room else list(range(len(ok)))
    return pd.concat([first, ok.iloc[spread]])


def _axis(column: pd.Series, name: str) -> dict[str, Any]:
    """A column as an axis: of numbers if all that is there are numbers, else of words in their first order."""
    unit, told = _unit(name)
    axis = {"name": name, "unit": unit, "help": told}
    values = [value if has_value(value) else None for value in column.tolist()]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None):
        return axis | {"at": [_number(v) for v in values]}
    words = list(dict.fromkeys(shown(v) for v in values if v is not None))
    places = {word: i for i, word in enumerate(words)}
    return axis | {"words": words, "at": [None if v is None else places[shown(v)] for v in values]}


def _number(value: float | None) -> float | None:
    """A number that JSON can hold, with as many digits as a line has room for."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _unit(name: str) -> tuple[str, str]:
    """The unit and the sentence of a setting or a measured column."""
    if name in RULES:
        return RULES[name].unit, RULES[name].help
    return (CATALOGUE[name].unit, CATALOGUE[name].help) if name in CATALOGUE else ("", "")
