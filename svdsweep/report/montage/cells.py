"""Which job of a sweep stands in which cell of a montage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import SETTINGS, varying
from svdsweep.errors import UserError, nearest, some
from svdsweep.metrics import CATALOGUE
from svdsweep.report.words import has_value, shown, text
from svdsweep.store.files import absolute
from svdsweep.store.labels import short_paths
from svdsweep.store.places import is_plain

Place = tuple[Any, ...]
"""A value of each setting of an axis."""
MOST_CELLS = 10_000
VALUES_TOLD = 6
STATUS_WORDS = {"oom": "out of memory"}


@dataclass(frozen=True)
class Axis:
    """The settings of an axis and its places in their order; an axis without settings has one place, ()."""

    settings: tuple[str, ...]
    places: list[Place]

    @property
    def name(self) -> str:
        """Its settings, as a user would type them."""
        return ",".join(self.settings)


@dataclass(frozen=True)
class Clip:
    """A job's video in the sweep's folder."""

    key: str
    path: Path
    fps: int
    width: int
    height: int
    frames: int
    """These are what its job asked for."""


@dataclass(frozen=True)
class Cell:
    """What is known of the job in a cell."""

    status: str
    """As people say it; `ok`, `defective`, `out of memory`, … or `not run`."""
    reason: str = ""
    """Why it did not end well."""
    clip: Clip | None = None
    baseline: Clip | None = None
    is_baseline: bool = False
    under: str = ""
    """What stands below it: the status of a video that is not `ok`, and values."""


@dataclass(frozen=True)
class Grid:
    """The cells of a montage by row and column; a job that has no row is `NOT_RUN`."""

    name: str
    """The sweep's."""
    rows: Axis
    columns: Axis
    cells: Mapping[tuple[int, int], Cell]
    kept: tuple[str, ...]
    """What `where` kept, as `seed=0`."""
    under: tuple[str, ...]

    def at(self, row: int, column: int) -> Cell:
        """The cell of a row and a column, counted from 0."""
        return self.cells.get((row, column), NOT_RUN)

    @property
    def own_clips(self) -> list[Clip]:
        """The videos of its jobs."""
        return [cell.clip for cell in self.cells.values() if cell.clip]

    @property
    def clips(self) -> list[Clip]:
        """The videos of its jobs and of their baselines, each once."""
        baselines = [cell.baseline for cell in self.cells.values() if cell.clip and cell.baseline]
        return list({clip.key: clip for clip in [*self.own_clips, *baselines]}.values())


NOT_RUN = Cell("not run")


def grid_of(
    sweep: Sweep, rows: str | None, columns: str | None, where: Sequence[str] = (), under: Sequence[str] = ()
) -> Grid:
    """The jobs of a sweep laid out by two axes, each of one setting or several (`image,seed`); None is left to
    `usual_axes`, "" is none.

    Raises UserError for what is no setting, value or column of the sweep, and where a cell would hold several jobs."""
    table = _in_order(sweep)
    for name in under:
        _known(name, [str(c) for c in table if table[c].notna().any()], "column")
    for condition in where:
        table = _narrowed(table, condition)
    down, across = _axes(table, rows, columns)
    _refuse_several(table, down.settings, across.settings)
    if len(down.places) * len(across.places) > MOST_CELLS:
        raise UserError(
            f"{len(down.places)} × {len(across.places)} cells are more than {MOST_CELLS:,}: narrow them with --where."
        )
    numbers = {axis.name: {place: i for i, place in enumerate(axis.places)} for axis in (down, across)}
    by_key = {str(line["key"]): line for line in sweep.table.to_dict("records")}
    cells = {}
    for line in table.to_dict("records"):
        at = tuple(numbers[axis.name][_place(line, axis.settings)] for axis in (down, across))
        cells[at[0], at[1]] = _cell(sweep.folder, line, by_key, under)
    return Grid(sweep.name, down, across, cells, tuple(where), tuple(under))


def _in_order(sweep: Sweep) -> pd.DataFrame:
    """The sweep's jobs in the order of its last command, others behind. Raises UserError where there is none."""
    if sweep.table.empty:
        raise UserError(f"{sweep.folder}: there is no readable row in it, so there is nothing to show.")
    asked = {str(key): number for number, key in enumerate(sweep.manifest.get("keys", []))}
    order = sweep.table["key"].map(lambda key: asked.get(key, len(asked)))
    return sweep.table.loc[order.sort_values(kind="stable").index]


def _known(name: str, names: Sequence[str], what: str) -> None:
    if name not in names:
        raise UserError(f"{name} is no {what} of this sweep.{nearest(name, names)}")


def _narrowed(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The lines of a table that `SETTING=VALUE`, or `SETTING=A,B`, keeps. Raises UserError."""
    setting, _, typed = condition.partition("=")
    _known(setting, SETTINGS, "setting")
    there = list(dict.fromkeys(table[setting].tolist()))
    words = dict(zip(map(text, there), there, strict=True))
    choices = words | dict(zip(short_paths(list(words)), there, strict=True))
    wanted = [typed] if _chosen(typed, choices) else typed.split(",")  # a value may have a comma in it
    kept = []
    for value in wanted:
        if not (found := _chosen(value, choices)):
            raise UserError(
                f"No job that is left has {setting}={value}: there are {some(list(words), VALUES_TOLD)}."
                f"{nearest(value, choices)}"
            )
        kept += found
    return table[table[setting].isin(kept)]


def _chosen(typed: str, choices: Mapping[str, Any]) -> list[Any]:
    """The value of a sweep that was typed, in a list; a path also as from here, a number as one may write it."""
    for word in (typed, absolute(typed)):
        if word in choices:
            return [choices[word]]
    try:
        number = float(typed)
    except ValueError:
        return []
    return [value for value in choices.values() if isinstance(value, int | float) and value == number][:1]


def _axes(table: pd.DataFrame, rows: str | None, columns: str | None) -> tuple[Axis, Axis]:
    """Both axes. Raises UserError for what is no setting, and for one that stands on both."""
    free = sorted(varying(table), key=lambda name: name != "memory")
    taken = [*_settings(rows), *_settings(columns)]
    for name in taken:
        if name not in SETTINGS:
            raise UserError(
                f"{name} is no setting.{nearest(name, [*free, *SETTINGS])} "
                f"In these jobs {some(free or ['nothing'], VALUES_TOLD)} varies."
            )
    if len(set(taken)) < len(taken):
        raise UserError(f"A setting stands on one axis, once: --rows {rows or ''} --columns {columns or ''}.")
    usual = usual_axes([name for name in free if name not in taken], rows, columns)
    down, across = map(_settings, usual)
    return Axis(down, _places(table, down)), Axis(across, _places(table, across))


def _settings(axis: str | None) -> tuple[str, ...]:
    return tuple(name for name in (axis or "").split(",") if name)


def usual_axes(free: Sequence[str], rows: str | None = None, columns: str | None = None) -> tuple[str, str]:
    """Rows and columns, where None is asked for of the settings that vary: the first is the columns', and the next the
    rows', seeds last."""
    left = list(free)
    if columns is None:
        columns = left.pop(0) if left else ""
    if rows is None:
        rows = min(left, key=lambda name: name == "seed", default="")
    return rows, columns


def _places(table: pd.DataFrame, settings: Sequence[str]) -> list[Place]:
    """The combinations of values that some job has, as a product runs through them, numbers rising."""
    ranks = []
    for name in settings:
        values = list(dict.fromkeys(map(_plain, table[name].tolist())))
        ordered = sorted(values) if all(isinstance(x, int | float) for x in values) else values
        ranks.append({value: rank for rank, value in enumerate(ordered)})
    there = {_place(line, settings) for line in table[list(settings)].to_dict("records")} or {()}
    return sorted(there, key=lambda place: [rank[v] for rank, v in zip(ranks, place, strict=True)])


def _place(line: Mapping[Any, Any], settings: Sequence[str]) -> Place:
    return tuple(_plain(line[name]) for name in settings)


def _plain(value: Any) -> Any:
    """A value that equals itself: NaN is None."""
    return value if has_value(value) else None


def _refuse_several(table: pd.DataFrame, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Raise UserError, with the settings that still vary and their values, where a cell would hold several jobs."""
    settings = [*rows, *columns]
    groups = table.groupby(settings, dropna=False, sort=False) if settings else [((), table)]
    several = [group for _, group in groups if len(group) > 1]
    if not several:
        return
    open_settings = dict.fromkeys(name for group in several for name in varying(group))
    told = [f"{name} ({some(_words(table[name]), VALUES_TOLD)})" for name in open_settings]
    first = next(iter(open_settings), "seed")
    raise UserError(
        f"{len(several)} cells would hold several jobs each, which still differ in {some(told, VALUES_TOLD)}. Choose "
        f"with --where {' '.join(f'{n}={_words(table[n])[0]}' for n in open_settings)}, or put a setting on an axis "
        f"too, as in --columns {','.join([*columns, first])}."
    )


def _words(column: pd.Series) -> list[str]:
    return [text(value) for value in dict.fromkeys(map(_plain, column.tolist()))]


def _cell(
    folder: Path, line: Mapping[Any, Any], by_key: Mapping[str, Mapping[Any, Any]], under: Sequence[str]
) -> Cell:
    base = by_key.get(text(line.get("baseline_key")))
    clip = _clip(folder, line)
    status, phase = str(line["status"]), text(line.get("phase"))
    words = STATUS_WORDS.get(status, status) + (f" in {phase}" if phase else "")
    if status == "ok" and not clip:
        words = "no video kept" if not text(line.get("video")) else "video missing"
    values = [_value(name, line.get(name)) for name in under if has_value(line.get(name))]
    return Cell(
        words,
        next(iter(text(line.get("error")).strip().splitlines()[-1:]), ""),
        clip,
        _clip(folder, base) if base else None,
        base is not None and base["key"] == line["key"],
        " · ".join([words, *values] if clip and status != "ok" else values),
    )


def _value(name: str, value: Any) -> str:
    """A value with its unit, else with its name."""
    unit = CATALOGUE[name].unit if name in CATALOGUE else ""
    return f"{shown(value)} {unit}" if unit else f"{name} {shown(value)}"


def _clip(folder: Path, line: Mapping[Any, Any]) -> Clip | None:
    """The video that a row names, of which `open_sweep` has left only names of the sweep's own; None if it is lost."""
    path = folder / text(line.get("video"))
    if not text(line.get("video")) or not is_plain(path):
        return None
    facts = (max(1, int(line[name])) for name in ("fps", "width", "height", "num_frames"))
    return Clip(str(line["key"]), path, *facts)
