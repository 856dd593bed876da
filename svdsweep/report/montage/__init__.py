"""A sweep's videos as one labelled picture that moves: rows and columns by its settings, all clips in step."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from svdsweep.analysis.sweep import Sweep
from svdsweep.errors import UserError
from svdsweep.images.ffmpeg import FfmpegFailed, cure
from svdsweep.report.montage import clips, files, picture
from svdsweep.report.montage.cells import Grid, grid_of
from svdsweep.report.montage.clips import Scaled
from svdsweep.report.montage.layout import Layout, Panel, fitting
from svdsweep.report.pictures import GAIN
from svdsweep.store.files import renamed_when_done

MOST_FPS = 50
"""A GIF shows no more in a second."""
TITLES = {"video": "video", "baseline": "its baseline", "difference": f"difference × {GAIN}"}


@dataclass(frozen=True)
class Wish:
    """What a montage is to show; the sizes are in px."""

    rows: str | None = None
    columns: str | None = None
    where: Sequence[str] = ()
    under: Sequence[str] = ()
    beside: Sequence[str] = ()
    """`baseline`, `difference`."""
    cell: int | None = None
    width: int | None = None
    fps: int | None = None
    """Every clip frame by frame at this rate; None: each at its own."""
    frames: Sequence[int] | None = None
    """Of a sheet, counted from 0; None: the first, the middle and the last one."""


@dataclass(frozen=True)
class Montage:
    """What was written."""

    path: Path
    size: tuple[int, int]
    cells: tuple[int, int]
    """Rows and columns."""
    frames: int
    fps: int
    without: Mapping[str, int]
    """How many cells have no video, by what they say instead."""


def write(sweep: Sweep, path: Path, wish: Wish) -> Montage:
    """Write a montage of a sweep's videos, whole or not at all.

    Raises UserError for what cannot be shown, OSError for what the system refused."""
    files.check_kind(path)
    if wish.fps is not None and not 1 <= wish.fps <= MOST_FPS:
        raise UserError(f"--fps {wish.fps} is not possible: 1 to {MOST_FPS} frames a second.")
    grid = grid_of(sweep, wish.rows, wish.columns, wish.where, wish.under)
    if not grid.own_clips:
        raise UserError(f"{sweep.folder}: no video of these {len(grid.cells)} jobs is stored there.")
    needed = grid.clips if wish.beside else grid.own_clips
    panels = _panels(wish, path.suffix.lower(), max(clip.frames for clip in needed))
    layout = fitting(grid, panels, max(clip.height / clip.width for clip in needed), wish.cell, wish.width)
    with tempfile.TemporaryDirectory(prefix="svdsweep-") as folder:
        clips.check_room(needed, layout.box, Path(folder))
        try:
            there = clips.scaled(needed, layout.box, Path(folder), wish.fps)
            if not there:
                raise UserError(f"{sweep.folder}: none of its {len(needed)} videos can be read.")
            return _written(path, grid, layout, there, wish.fps)
        except FfmpegFailed as e:
            raise UserError(f"{path} cannot be written: {e}. To mend it: {cure()}.") from e


def _written(path: Path, grid: Grid, layout: Layout, there: Mapping[str, Scaled], fps: int | None) -> Montage:
    kind = path.suffix.lower()
    rate = fps or min(MOST_FPS, max(clip.fps for clip in there.values()))
    count = 1 if kind == ".png" else max(-(-clip.frames * rate // clip.fps) for clip in there.values())
    pictures = list(picture.placed(layout, grid, there))
    ground = picture.background(layout, grid, there)
    frames = partial(picture.frames, ground, pictures, rate, count, layout.box)
    with renamed_when_done(path) as part:
        files.write(part, kind, frames, layout.size, rate, count)
    shown = len(grid.rows.places), len(grid.columns.places)
    return Montage(path, layout.size, shown, count, rate, _without(grid, there))


def _panels(wish: Wish, kind: str, longest: int) -> list[Panel]:
    """The pictures of a cell, in a sheet one for each chosen frame. Raises UserError for frames that no clip has."""
    kinds = ["video", *wish.beside]
    if kind != ".png":
        if wish.frames is not None:
            raise UserError(
                f"--frames chooses what a sheet shows: a name that ends in .png; {kind} shows all."
            )
        return [Panel(k, None, TITLES[k] if len(kinds) > 1 else "") for k in kinds]
    if wish.frames is None:
        numbers = sorted({0, longest // 2, longest - 1})
    elif not wish.frames or not all(0 <= number < longest for number in wish.frames):
        raise UserError(f"--frames: the longest of these clips has {longest}, numbered 0 to {longest - 1}.")
    else:
        numbers = list(wish.frames)
    names = {k: f"{TITLES[k]}, " if len(kinds) > 1 else "" for k in kinds}
    return [Panel(k, number, f"{names[k]}frame {number}") for number in numbers for k in kinds]


def _without(grid: Grid, there: Mapping[str, Scaled]) -> Counter[str]:
    """How many cells show no frames, by what they say instead."""
    cells = [
        grid.at(row, column)
        for row in range(len(grid.rows.places))
        for column in range(len(grid.columns.places))
    ]
    lost = [cell for cell in cells if not (cell.clip and cell.clip.key in there)]
    return Counter("video unreadable" if cell.clip else cell.status for cell in lost)
