"""Values of secret environment variables, masked where text comes in: no row, log tail, page or table holds one."""

import os
import re
from dataclasses import replace
from functools import lru_cache

from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import Row

NAMES = re.compile("TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
"""What the name of a variable with a secret holds."""
SHORTEST = 8
"""Characters of a secret: what is shorter would be found everywhere."""
WORD = re.compile("[A-Za-z]{1,10}")
"""A plain word, such as `disabled`: a choice, and no secret."""


def masked(text: str) -> str:
    """Text with `***NAME***` in place of each value of a secret environment variable of this process."""
    for name, value in _secrets():
        text = text.replace(value, f"***{name}***")
    return text


def masked_row(row: Row) -> Row:
    """A row whose texts are `masked`; its job stays as it was asked for."""
    if not _secrets():
        return row
    values, provenance = (
        {name: _masked(value) for name, value in them.items()} for them in (row.values, row.provenance)
    )
    notes = [masked(note) for note in row.notes]
    return replace(row, error=masked(row.error), values=values, provenance=provenance, notes=notes)


def _masked(value: Scalar) -> Scalar:
    return masked(value) if isinstance(value, str) else value


def _secrets() -> list[tuple[str, str]]:
    """Names and values of the variables that hold secrets, line by line, the longest first."""
    every = getattr(os, "environb", os.environ)  # whose names need no decoding, where the system has it
    named = [(name, os.environ.get(name, "")) for name in _may_hold_one(tuple(every))]
    told = [(name, value) for name, value in named if not _is_path(value)]
    lines = [(name, line.strip()) for name, value in told for line in value.splitlines()]
    secret = [(name, line) for name, line in lines if len(line) >= SHORTEST and not WORD.fullmatch(line)]
    return sorted(secret, key=lambda pair: -len(pair[1]))


@lru_cache(1)
def _may_hold_one(names: tuple[str | bytes, ...]) -> list[str]:
    """The variables among these that may hold a secret: asked for every row, when they are hardly ever others."""
    return [name for name in map(os.fsdecode, names) if NAMES.search(name)]


def _is_path(value: str) -> bool:
    """Whether a value is a file's path, or would be one: its folder is there, and not the root."""
    path = os.path.expanduser(value)
    folder = os.path.dirname(path)
    return os.path.isabs(path) and os.path.isdir(folder) and os.path.dirname(folder) != folder
