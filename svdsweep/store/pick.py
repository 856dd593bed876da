"""`pick.json`: what a pick did with its candidates, for the page; a stranger's is data, and judged as such."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import read_plain

FILE = "pick.json"
SCHEMA = 1
KEY = re.compile(r"[0-9a-f]{12}")
MOST = 100_000
"""Candidates, and UNet calls of one run."""
STAGES = 20
LARGEST = 1e12
"""Of a value."""
LONGEST = 2_000
"""Characters of a sentence."""


@dataclass(frozen=True)
class Stage:
    """One round of runs: their steps, the UNet calls of each, and how many there were."""

    steps: int
    calls: int
    runs: int


@dataclass(frozen=True)
class Road:
    """A candidate: its job and value at each stage (None where it took no part, or had none), and its end."""

    name: str
    keys: Sequence[str | None]
    values: Sequence[float | None]
    fate: str
    """Where and why it was left out; empty for a finalist."""


@dataclass(frozen=True)
class Pick:
    """A pick as far as it came. The last stage is the full run."""

    by: str
    unit: str
    higher: bool
    stages: Sequence[Stage]
    roads: Sequence[Road]
    finalists: Sequence[int]
    """Places among the roads, the best first; none where it did not come to a choice."""
    answer: Sequence[str]
    """What the terminal says, in sentences."""


def write_pick(folder: Path, pick: Pick) -> None:
    """Write `pick.json` into a sweep's folder."""
    with renamed_when_done(folder / FILE) as part:
        text = json.dumps({"schema": SCHEMA, **asdict(pick)}, indent=1)
        part.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_pick(folder: Path) -> Pick | None:
    """What `pick.json` says; None for a sweep without. Raises ValueError for what no pick has written."""
    try:
        plain = orjson.loads(read_plain(folder / FILE))
    except FileNotFoundError:
        return None
    except OSError as e:
        raise ValueError(str(e)) from e
    try:
        return _judged(plain)
    except (KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{type(e).__name__}: {e}") from e


def _judged(plain: Any) -> Pick:
    if plain["schema"] != SCHEMA:
        raise ValueError("another svdsweep wrote it")
    stages = [
        Stage(*(_number(s[n], 1, MOST) for n in ("steps", "calls", "runs"))) for s in _list(plain["stages"])
    ]
    if not len(stages) <= STAGES or (plain["finalists"] and not stages):
        raise TypeError(f"there are {len(stages)} stages")
    roads = [_road(road, len(stages)) for road in _list(plain["roads"])]
    finalists = [_number(i, 0, len(roads) - 1) for i in _list(plain["finalists"])]
    answer = [_text(sentence) for sentence in _list(plain["answer"])]
    if type(plain["higher"]) is not bool:
        raise TypeError("higher is no truth value")
    return Pick(_text(plain["by"]), _text(plain["unit"]), plain["higher"], stages, roads, finalists, answer)


def _road(plain: Any, stages: int) -> Road:
    keys = [None if key is None else _key(key) for key in _list(plain["keys"], stages)]
    values = [None if value is None else _value(value) for value in _list(plain["values"], stages)]
    return Road(_text(plain["name"]), keys, values, _text(plain["fate"]))


def _list(value: Any, length: int | None = None) -> list[Any]:
    if type(value) is not list or len(value) > MOST or (length is not None and len(value) != length):
        raise TypeError("a list is missing, or of another length")
    return value


def _a(kind: type, fits: Callable[[Any], bool], what: str) -> Callable[[Any], Any]:
    """What is of a kind and fits."""

    def judged(value: Any) -> Any:
        if type(value) is not kind or not fits(value):
            raise TypeError(f"{str(value)[:50]!r} is no {what}")
        return value

    return judged


_text = _a(str, lambda text: len(text) <= LONGEST, "sentence")
_key = _a(str, lambda text: KEY.fullmatch(text) is not None, "key of a job")
_value = _a(float, lambda value: abs(value) < LARGEST, "number that a metric has")


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise TypeError(f"{str(value)[:50]!r} is no number from {least} to {most}")
    return value
