"""Where everything stands in a montage: cells, headings, labels of rows, what is written below; in px."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from svdsweep.errors import UserError
from svdsweep.report.montage.cells import Axis, Grid
from svdsweep.report.montage.lettering import Lettering
from svdsweep.report.words import shown

MARGIN = 12
USUAL_CELL, LEAST_CELL = 256, 48
USUAL_SIDE = 1920
"""A montage is no larger than that where nothing else is asked for and `LEAST_CELL` allows."""
SMALLEST = 16
LARGEST_PX = 8192 * 4320
"""What the highest level of H.264 allows in a frame."""
LARGEST_SIDE = 16_000
FLATTEST, TALLEST = 0.25, 4.0
"""Bounds of a cell's height over its width."""
PAD = 3
"""Between a picture and what stands below it."""
VALUE_LINES, UNDER_LINES, FOOT_LINES = 2, 3, 3


@dataclass(frozen=True)
class Panel:
    """One picture of a cell: of the `video`, its `baseline` or their `difference`; `frame` is None where it plays."""

    kind: str
    frame: int | None = None
    title: str = ""


@dataclass(frozen=True)
class Run:
    """Words in one lettering; several make a line."""

    text: str
    lettering: Lettering

    @property
    def width(self) -> float:
        """In px."""
        return self.lettering.width(self.text)


Line = tuple[Run, ...]


@dataclass(frozen=True)
class Heading:
    """Lines over some columns."""

    x: int
    y: int
    width: int
    lines: list[Line]


@dataclass(frozen=True)
class Layout:
    """A montage without its pictures."""

    box: tuple[int, int]
    """Width and height of a panel."""
    panels: Sequence[Panel]
    x: list[int]
    """The left edge of each column."""
    y: list[int]
    """The upper edge of each row."""
    step: int
    """From the left edge of a panel to that of the next in a cell."""
    cell_width: int
    headings: list[Heading]
    labels: list[list[Line]]
    """Of the rows."""
    labels_right: int
    small: Lettering
    bold: Lettering
    foot: list[str]
    foot_y: int
    size: tuple[int, int]
    """Width and height of the whole; both are even."""


@dataclass(frozen=True)
class Letters:
    """The letterings of a montage whose panels are `width` px wide."""

    width: int

    @property
    def size(self) -> int:
        """Of headings and labels."""
        return min(24, max(11, 8 + self.width // 24))

    @property
    def plain(self) -> Lettering:
        """Names of settings."""
        return Lettering("plain", self.size)

    @property
    def bold(self) -> Lettering:
        """Values of settings."""
        return Lettering("bold", self.size)

    @property
    def small(self) -> Lettering:
        """What stands below, and reasons."""
        return Lettering("plain", max(10, self.size - 3))


def fitting(
    grid: Grid, panels: Sequence[Panel], shape: float, cell: int | None = None, width: int | None = None
) -> Layout:
    """The layout with panels `cell` px wide, or `width` px wide as a whole, or as large as usual.

    `shape` is a panel's height over its width. Raises UserError for what is too small or too large."""
    _check_asked(cell, width)
    if cell is not None:
        return _judged(_laid_out(grid, panels, _box(cell, shape)))
    low, high = (LEAST_CELL, USUAL_CELL) if width is None else (SMALLEST, width)
    widest, highest = (USUAL_SIDE, USUAL_SIDE) if width is None else (width, LARGEST_SIDE)
    best = _laid_out(grid, panels, _box(low, shape))
    if width is not None and best.size[0] > width:
        raise UserError(f"--width {width} has no room for so many columns: at least {best.size[0]} px.")
    while low < high:
        middle = (low + high + 1) // 2
        tried = _laid_out(grid, panels, _box(middle, shape))
        if tried.size[0] <= widest and tried.size[1] <= highest:
            best, low = tried, middle
        else:
            high = middle - 1
    return _judged(best, width)


def _check_asked(cell: int | None, width: int | None) -> None:
    if cell is not None and width is not None:
        raise UserError("--cell and --width say the same twice: give one of them.")
    for flag, asked in (("--cell", cell), ("--width", width)):
        if asked is not None and not SMALLEST <= asked <= LARGEST_SIDE:
            raise UserError(f"{flag} {asked} is not possible: {SMALLEST} to {LARGEST_SIDE:,} px.")


def _box(width: int, shape: float) -> tuple[int, int]:
    return width, max(2, round(width * min(TALLEST, max(FLATTEST, shape))))


def _judged(layout: Layout, exact: int | None = None) -> Layout:
    """The layout, `exact` px wide where asked. Raises UserError where no encoder would take it."""
    width, height = (exact or layout.size[0]) // 2 * 2, layout.size[1]
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_PX:
        raise UserError(
            f"The montage would have {width:,} × {height:,} px, which no player shows: give a smaller --cell or "
            "--width, or fewer cells by --where."
        )
    return replace(layout, size=(width, height))


def _laid_out(grid: Grid, panels: Sequence[Panel], box: tuple[int, int]) -> Layout:
    letters, gap = Letters(box[0]), min(12, max(3, box[0] // 32))
    plain, bold, small = letters.plain, letters.bold, letters.small
    step = box[0] + max(2, gap // 2)
    cell_width = step * (len(panels) - 1) + box[0]
    under = max((len(small.lines(c.under, cell_width, UNDER_LINES)) for c in grid.cells.values()), default=0)
    below = under * small.line_px + PAD if under else 0
    room = max(1, (box[1] + below) // plain.line_px)
    labels = _labels(grid.rows, letters, room)
    labels_width = round(max((_width(line) for lines in labels for line in lines), default=0))
    left = MARGIN + labels_width + (2 * gap if labels_width else 0)
    x = _edges(grid.columns, left, cell_width, gap if len(panels) == 1 else 3 * gap)
    headings, top = _headings(grid.columns, panels, x, cell_width, step, letters)
    row_height = max(box[1] + below, plain.line_px)
    y = _edges(grid.rows, top, row_height, gap)
    width = x[-1] + cell_width + MARGIN
    foot = small.lines(_foot(grid), width - 2 * MARGIN, FOOT_LINES)
    foot_y = y[-1] + row_height + gap
    height = foot_y + len(foot) * small.line_px + MARGIN
    size = (width + width % 2, height + height % 2)
    right = MARGIN + labels_width
    return Layout(
        box, panels, x, y, step, cell_width, headings, labels, right, small, bold, foot, foot_y, size
    )


def _edges(axis: Axis, start: int, length: int, gap: int) -> list[int]:
    """Where each place of an axis begins; where an outer setting changes, the gap is wider."""
    edges = [start]
    for before, place in zip(axis.places, axis.places[1:], strict=False):
        edges.append(edges[-1] + length + (gap if before[:-1] == place[:-1] else 3 * gap))
    return edges


def _labels(axis: Axis, letters: Letters, room: int) -> list[list[Line]]:
    """The lines beside each row: name over value for every setting, values alone where there is no room for both."""
    width = 10 * letters.size
    both = [
        [
            line
            for name, value in zip(axis.settings, place, strict=True)
            for line in _stacked(name, value, letters, width)
        ]
        for place in axis.places
    ]
    if max(map(len, both)) <= room:
        return both
    values = [", ".join(map(shown, place)) for place in axis.places]
    return [_lines(letters.bold, value, width, room) for value in values]


def _stacked(name: str, value: object, letters: Letters, width: int) -> list[Line]:
    names = _lines(letters.plain, name, width, 1)
    return [*names, *_lines(letters.bold, shown(value), width, VALUE_LINES)]


def _headings(
    axis: Axis, panels: Sequence[Panel], x: list[int], width: int, step: int, letters: Letters
) -> tuple[list[Heading], int]:
    """What stands over the columns, a level for each setting and one for the panels, and where the first row begins."""
    headings: list[Heading] = []
    y = MARGIN
    for level, name in enumerate(axis.settings):
        spans = []
        for place, members in groupby(zip(axis.places, x, strict=True), key=lambda at: at[0][: level + 1]):
            edges = [edge for _, edge in members]
            spans.append((edges[0], edges[-1] + width - edges[0], place[-1]))
        lines = _level(name, spans, letters)
        headings += [Heading(at, y, span, li) for (at, span, _), li in zip(spans, lines, strict=True)]
        y += max(map(len, lines)) * letters.plain.line_px + 2
    if any(panel.title for panel in panels):
        small = letters.small
        titles = [_lines(small, panel.title, letters.width, VALUE_LINES) for panel in panels]
        for left in x:
            for number, title in enumerate(titles):
                headings.append(Heading(left + number * step, y, letters.width, title))
        y += max(map(len, titles)) * small.line_px + 2
    return headings, y + 2


def _level(name: str, spans: Sequence[tuple[int, int, object]], letters: Letters) -> list[list[Line]]:
    """The headings of one setting over spans of columns (left edge, width, value): `name value`, or in two lines each
    where some span is too narrow."""
    headings: list[list[Line]] = []
    for _, width, value in spans:
        words = letters.bold.legible(shown(value))
        line: Line = (Run(f"{name} ", letters.plain), Run(words, letters.bold))
        if _width(line) > width:
            return [_stacked(name, value, letters, width) for _, width, value in spans]
        headings.append([line])
    return headings


def _lines(lettering: Lettering, text: str, width: int, at_most: int) -> list[Line]:
    return [(Run(line, lettering),) for line in lettering.lines(text, width, at_most)]


def _width(line: Line) -> float:
    return sum(run.width for run in line)


def _foot(grid: Grid) -> str:
    """What the picture shows, for those who meet it without its page."""
    below = f"below: {', '.join(grid.under)}" if grid.under else ""
    return " · ".join(filter(None, [grid.name, *grid.kept, below]))
