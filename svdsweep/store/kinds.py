"""What kinds of settings, values and series a row may hold, whoever wrote it: a row is data, and is judged as such."""

import dataclasses
import re
import types
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import chain
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson

from svdsweep.config import Job
from svdsweep.config.keys import rebuild
from svdsweep.config.rules import check, rule_of

Scalar = bool | int | float | str | None
SCALARS = {bool, int, float, str, type(None)}
NUMBERS = {int, float, type(None)}
PARTS: dict[str, Any] = {
    f.name: f.default_factory for f in dataclasses.fields(Job) if dataclasses.is_dataclass(f.default_factory)
}
"""The settings of a job that are dataclasses, and their kinds."""
OWN = {"seed": 0, "baseline": ""}
"""The settings that hardly two jobs of a sweep share, with their defaults."""
LARGEST = 10**6
"""Of any other number among the settings of a job: no run has so many frames, steps or pixels a side."""
LONGEST = 5_000
"""Characters of a text among the settings."""
VALUE_NAME = re.compile(r"[^\W\d]\w{0,99}")
BASELINE = re.compile(r"\w{0,64}", re.ASCII)
"""A job's key, or nothing: it becomes a file's name."""
RESERVED = {
    "key",
    "status",
    "attempt",
    "error",
    "phase",
    *(f.name for f in dataclasses.fields(Job) if f.name != "gpu"),
}
"""Columns of a table that are no measurement."""
UNITS = re.compile(r".*_(s|gib|db|px|255|j|w|mhz|c|pct)(_\w+)?")
"""Names of values that are numbers by their unit."""


class NoRow(ValueError):
    """What a line says is no row; the message says why in a few words."""


def judged_values(values: Any) -> dict[str, Scalar]:
    """The values or provenance of a row. Raises NoRow unless all are scalars, and those with a unit in their names
    numbers or unknown."""
    found = judged_object(values)
    _judge_names(tuple(found), tuple(map(type, found.values())))
    return found


@lru_cache(1000)
def _judge_names(names: tuple[str, ...], kinds: tuple[type, ...]) -> None:
    """Judge names with the kinds of their values; rows of a sweep share both."""
    for name, kind in zip(names, kinds, strict=True):
        if not VALUE_NAME.fullmatch(name) or name in RESERVED:
            raise NoRow(f"{name[:50]!r} is no name of a value")
        if kind not in (NUMBERS if UNITS.fullmatch(name) else SCALARS):
            raise NoRow(f"{name} is a {kind.__name__}")


def judged_series(series: Any) -> dict[str, list[Any]]:
    """The series of a row. Raises NoRow unless they are lists of numbers and None, or of such lists."""
    found = judged_object(series)
    if not set(map(type, found.values())) <= {list}:
        raise NoRow("a series is no list")
    flat = [values for values in found.values() if not (values and type(values[0]) is list)]
    nested = list(chain.from_iterable(v for v in found.values() if v and type(v[0]) is list))
    kinds = set(map(type, chain.from_iterable(flat)))
    if nested:
        if set(map(type, nested)) != {list}:
            raise NoRow("a series holds lists beside numbers")
        kinds |= set(map(type, chain.from_iterable(nested)))
    if not kinds <= NUMBERS:
        raise NoRow("a series holds something else than numbers")
    return found


def judged_job(plain: Any) -> Job:
    """The job that `dataclasses.asdict` turned into `plain`; missing settings get their defaults, unknown ones go.

    Raises NoRow or UserError for settings that no run can have. Most jobs of a sweep differ in their seed alone, so all
    else is built and judged once: 6 µs a row instead of 21, of 60 that reading takes."""
    shared = dict(judged_object(plain))
    own = {name: shared.pop(name, default) for name, default in OWN.items()}
    settings = _settings(orjson.dumps(shared))
    seed, baseline = own.values()
    if type(seed) is not int or type(baseline) is not str or not BASELINE.fullmatch(baseline):
        raise NoRow("its seed is no number, or its baseline no key")
    check("seed", seed, SEED)
    job = object.__new__(Job)
    vars(job).update(settings, **own)
    return job


@lru_cache(4096)
def _settings(text: bytes) -> Mapping[str, Any]:
    """All settings of a job but `OWN`, from their JSON; equal parts are one object."""
    plain = {name: value for name, value in orjson.loads(text).items() if name in _hints(Job)}
    settings = {n: _part(n, orjson.dumps(v)) if n in PARTS else _judged(Job, n, v) for n, v in plain.items()}
    job = vars(Job(**settings)).copy()
    if not (type(job["height"]) is type(job["width"]) is int):
        raise NoRow("its height or width is no number")
    return {name: value for name, value in job.items() if name not in OWN}


@lru_cache(4096)
def _part(name: str, text: bytes) -> Any:
    kind = PARTS[name]
    plain = judged_object(orjson.loads(text))
    return rebuild(kind, {n: _judged(kind, n, v) for n, v in plain.items() if n in _hints(kind)})


def _judged(kind: Any, name: str, value: Any) -> Any:
    """A setting, if it is of its field's kind and of a size that a setting may have. Raises NoRow."""
    if not _is_a(value, _hints(kind)[name]) or not all(
        map(_is_small, value if type(value) is list else [value])
    ):
        raise NoRow(f"{name} is no setting that a job can have")
    return value


def _is_small(value: Scalar) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST and "\0" not in value
    return value is None or abs(value) <= LARGEST


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of a field's type: `int | str`, `list[str]`, `float` (which a whole number is too), or
    `Any` (a name or numbers, `sigmas`)."""
    if hint is Any:
        return _is_a(value, str | list[float])
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_a(value, each) for each in get_args(hint))
    if get_origin(hint) is list:
        return type(value) is list and all(_is_a(each, get_args(hint)[0]) for each in value)
    return type(value) in ((int, float) if hint is float else (hint,))


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def judged_object(value: Any) -> dict[str, Any]:
    """A JSON object. Raises NoRow for anything else."""
    if not isinstance(value, dict):
        raise NoRow(f"{type(value).__name__} stands where names and values should")
    return value


SEED = next(rule for f in dataclasses.fields(Job) if f.name == "seed" and (rule := rule_of(f)))
