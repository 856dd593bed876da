"""The pictures of a montage, one at a time: what stands still is drawn once, the clips' frames are laid over it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from svdsweep.report.montage.cells import Cell, Grid
from svdsweep.report.montage.clips import Frame, Scaled
from svdsweep.report.montage.layout import MARGIN, PAD, UNDER_LINES, Layout, Line
from svdsweep.report.montage.lettering import Lettering
from svdsweep.report.pictures import GAIN

GROUND, EMPTY, EDGE = "#ffffff", "#f3f3f0", "#d9dde2"
INK, SOFT, BAD = "#1d2126", "#5b636d", "#b3430a"
REASON_LINES = 4
QUIET = ("not run", "rejected", "no video kept", "is the baseline")
"""What is said of a cell in grey: no failure."""


@dataclass(frozen=True)
class Placed:
    """A clip at its place; with a baseline, the amplified difference from it."""

    x: int
    y: int
    clip: Scaled
    baseline: Scaled | None
    number: int | None
    """The frame that stands still there; None where it plays."""

    def frame(self, time: int, rate: int) -> Frame:
        """What is shown in the montage's frame number `time` at `rate` frames a second."""
        shown = _at(self.clip, self.number, time, rate)
        if self.baseline is None:
            return shown
        other = _at(self.baseline, self.number, time, rate)
        apart: Frame = np.minimum(np.abs(shown.astype(np.int16) - other) * GAIN, 255).astype(np.uint8)
        return apart


def _at(clip: Scaled, number: int | None, time: int, rate: int) -> Frame:
    return clip.frame(time * clip.fps // rate if number is None else number)


def placed(layout: Layout, grid: Grid, clips: Mapping[str, Scaled]) -> Iterator[Placed]:
    """Every panel that shows frames."""
    for row, y in enumerate(layout.y):
        for column, x in enumerate(layout.x):
            cell = grid.at(row, column)
            mine = clips.get(cell.clip.key) if cell.clip else None
            base = clips.get(cell.baseline.key) if cell.baseline and not cell.is_baseline else None
            shown = {"video": (mine, None), "baseline": (base, None), "difference": (base and mine, base)}
            for number, panel in enumerate(layout.panels if mine else ()):
                clip, other = shown[panel.kind]
                if clip:
                    yield Placed(x + number * layout.step, y, clip, other, panel.frame)


def frames(
    background: Frame, pictures: Sequence[Placed], rate: int, count: int, box: tuple[int, int]
) -> Iterator[Frame]:
    """The montage frame after frame: no more than one, and a clip's frame, are in memory."""
    width, height = box
    for time in range(count):
        whole = background.copy()
        for picture in pictures:
            whole[picture.y : picture.y + height, picture.x : picture.x + width] = picture.frame(time, rate)
        yield whole


def background(layout: Layout, grid: Grid, clips: Mapping[str, Scaled]) -> Frame:
    """All but the clips: headings, labels, values, and the status of cells that have no video."""
    page = Image.new("RGB", layout.size, GROUND)
    pen = ImageDraw.Draw(page)
    for heading in layout.headings:
        for number, line in enumerate(heading.lines):
            _centred(pen, line, heading.x, heading.width, heading.y + number * _line_px(line))
    for y, lines in zip(layout.y, layout.labels, strict=True):
        for number, line in enumerate(lines):
            top = y + max(0, layout.box[1] - len(lines) * _line_px(line)) // 2
            _right(pen, line, layout.labels_right, top + number * _line_px(line))
    for row, y in enumerate(layout.y):
        for column, x in enumerate(layout.x):
            _cell(pen, layout, grid.at(row, column), clips, x, y)
    for number, words in enumerate(layout.foot):
        at = (MARGIN, layout.foot_y + number * layout.small.line_px)
        pen.text(at, words, SOFT, layout.small.font)
    return np.asarray(page)


def _cell(
    pen: ImageDraw.ImageDraw, layout: Layout, cell: Cell, clips: Mapping[str, Scaled], x: int, y: int
) -> None:
    small, (width, height) = layout.small, layout.box
    if cell.clip and cell.clip.key in clips:
        has_base = cell.baseline is not None and cell.baseline.key in clips and not cell.is_baseline
        why = "is the baseline" if cell.is_baseline else "no video of the baseline"
        for number, panel in enumerate(layout.panels):
            if panel.kind != "video" and not has_base:
                _empty(pen, layout, (x + number * layout.step, y, width), why, "")
    else:
        status = "video unreadable" if cell.clip else cell.status
        _empty(pen, layout, (x, y, layout.cell_width), status, "" if cell.clip else cell.reason)
    ink = SOFT if cell.status == "ok" else BAD
    for number, words in enumerate(small.lines(cell.under, layout.cell_width, UNDER_LINES)):
        pen.text((x, y + height + PAD + number * small.line_px), words, ink, small.font)


def _empty(
    pen: ImageDraw.ImageDraw, layout: Layout, place: tuple[int, int, int], status: str, reason: str
) -> None:
    """A box that says why there is no picture, and as much of the reason as has room."""
    (x, y, width), height = place, layout.box[1]
    pen.rectangle((x, y, x + width - 1, y + height - 1), EMPTY, EDGE)
    room = max(1, (height - 4) // layout.bold.line_px)
    colour = SOFT if status.startswith(QUIET) else BAD
    lines = [(words, layout.bold, colour) for words in layout.bold.lines(status, width - 8, min(2, room))]
    left = (height - 8 - len(lines) * layout.bold.line_px) // layout.small.line_px
    if left > 0:
        told = layout.small.lines(reason, width - 12, min(left, REASON_LINES))
        lines += [(words, layout.small, SOFT) for words in told]
    top = y + (height - sum(lettering.line_px for _, lettering, _ in lines)) // 2
    for words, lettering, ink in lines:
        pen.text((x + (width - lettering.width(words)) / 2, top), words, ink, lettering.font)
        top += lettering.line_px


def _centred(pen: ImageDraw.ImageDraw, line: Line, x: int, width: int, y: int) -> None:
    _drawn(pen, line, x + (width - sum(run.width for run in line)) / 2, y)


def _right(pen: ImageDraw.ImageDraw, line: Line, x: int, y: int) -> None:
    _drawn(pen, line, x - sum(run.width for run in line), y)


def _drawn(pen: ImageDraw.ImageDraw, line: Line, x: float, y: int) -> None:
    for run in line:
        pen.text((x, y), run.text, SOFT if run.lettering.weight == "plain" else INK, run.lettering.font)
        x += run.width


def _line_px(line: Line) -> int:
    lettering: Lettering = line[0].lettering
    return lettering.line_px
