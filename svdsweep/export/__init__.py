"""Sweeps in the trackers that people have: one contract, one file a tracker, and tables as CSV."""

import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.errors import UserError
from svdsweep.export.contract import Entry, Origin, Target, Tracker
from svdsweep.export.entries import Entries
from svdsweep.store.manifest import read_manifest
from svdsweep.store.rows import Row

if TYPE_CHECKING:  # the type checker holds the trackers against their contract
    from svdsweep.export import mlflow, tensorboard, wandb

    ALL: tuple[Tracker, ...] = (mlflow, wandb, tensorboard)

NEEDED = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",), "tensorboard": ("tensorboard",)}
"""The libraries of each tracker, which its extra brings."""


@dataclass(frozen=True)
class Exported:
    """What became of an export: the rows that it brought, and those that were there."""

    new: int
    there: int

    def __str__(self) -> str:
        return f"{self.new} rows exported, {self.there} there already"


def tracker(name: str) -> Tracker:
    """The module of a tracker. Raises UserError where its library is not installed; imports none."""
    if missing := [package for package in NEEDED[name] if find_spec(package) is None]:
        raise UserError(
            f"{name} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install "svdsweep[{name}]".'
        )
    module: Tracker = import_module(f"svdsweep.export.{name}")
    return module


def place_of(folder: Path, to: str, into: str | None) -> str:
    """Where an export goes: `into` where that is given, else beside the sweeps, `runs/export/mlflow`; a sweep's own
    folder stays as it is. Raises UserError for a URL where a folder is wanted."""
    if into and "://" in into and to != "mlflow":
        raise UserError(f"{into} is no folder; only MLflow takes the address of a server or a database.")
    return into or str(Path(os.path.normpath(folder / "..")) / "export" / to)


def origin_of(folder: Path) -> Origin:
    """The sweep in a folder, by its manifest; one without is named as its folder."""
    try:
        told = read_manifest(folder)
    except (OSError, ValueError):
        told = {}
    tags = [str(tag) for tag in told.get("tags", [])]
    return Origin(told.get("name") or folder.resolve().name, folder, tags, told.get("note", ""))


def export(folder: Path, rows: Iterable[Row], to: str, into: str | None = None) -> Exported:
    """Bring what is new of a sweep's rows into a tracker. Raises UserError where that cannot be."""
    rows = list(rows)
    entries = Entries(folder, [row.job for row in rows])
    tracker(to)
    try:
        with connected(folder, to, into) as target:
            new = [hand_over(target, entries.of(row)) for row in rows]
    except UserError:
        raise
    except Exception as e:  # a tracker's library may raise anything
        raise UserError(f"{to} does not take the sweep at {place_of(folder, to, into)}: {told_by(e)}") from e
    return Exported(sum(new), len(new) - sum(new))


def connected(folder: Path, to: str, into: str | None) -> "closing[Target]":
    """A sweep's target in a tracker, closed at the end of the block."""
    return closing(tracker(to).connect(origin_of(folder), place_of(folder, to, into)))


def hand_over(target: Target, entry: Entry) -> bool:
    """Export a row unless it is there; returns whether it was new."""
    if target.has(entry):
        return False
    target.add(entry)
    return True


def told_by(e: Exception) -> str:
    """What a library says went wrong, in a line."""
    return next(iter(str(e).strip().splitlines()), "") or type(e).__name__
