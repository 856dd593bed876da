"""Memory over time: the live bytes of each strategy over a run, stacked by what they are, on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from svdsweep.predict.prediction import GIB, KINDS, Prediction, Stretch
from svdsweep.report.drawing import COLOURS, FAINT, INK, STYLE, Plot, literal
from svdsweep.store.columns import STAGES

PANELS_AT_MOST = 12
COLUMNS, WIDTH_IN, HEIGHT_IN = 2, 8.0, 2.3
WIDTHS = dict(zip(STAGES, (1.0, 1.0, 4.0, 3.0), strict=True))
"""Of the stages in a panel: legible, and the same for all strategies; not to scale of time."""
COLOUR = dict(zip(KINDS, (COLOURS[0], COLOURS[4], COLOURS[3], COLOURS[2], COLOURS[1]), strict=True))
LENS_BELOW = 0.3
"""A panel whose peak is below this share of the scale is shown magnified in the room above it."""
CARDS_DRAWN = (8, 12, 24, 48, 80)
Levels = list[float | None]
Measured = Mapping[str, Sequence[Levels]]
"""GiB by stage, a list for each stretch of it."""


@dataclass(frozen=True)
class Panel:
    """A strategy's run, and what a GPU was seen to hold."""

    title: str
    prediction: Prediction
    measured: Measured = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Whether the prediction was recorded over time."""
        return all(stage.over_time for stage in self.prediction.stages.values())


@matplotlib.rc_context(STYLE)
def over_time(panels: Sequence[Panel], card: tuple[str, float] | None = None) -> Plot | None:
    """A panel a strategy, all on one scale (GiB); `card` is the name and size of one to draw as a line, in place of
    those that are sold. Panels whose prediction was not recorded over time are left out; None where all are."""
    told = [panel for panel in panels if panel.is_told]
    drawn = told[:PANELS_AT_MOST]
    if not drawn:
        return None
    figure, grid = _grid(len(drawn))
    top = max(panel.prediction.peak_gib for panel in drawn) * 1.12
    limits = [card] if card else [(f"{gb} GB", float(gb)) for gb in CARDS_DRAWN]
    tips: dict[str, str] = {}
    for i, (panel, axes) in enumerate(zip(drawn, grid, strict=True)):
        small = panel.prediction.peak_gib < LENS_BELOW * top
        _panel(axes, panel, top, limits, LENS_BELOW * top if small else top)
        tips |= _mark_peak(axes, panel, f"over-time-{i}")
        if small:
            _lens(axes, panel)
    _legend(figure, drawn)
    left_out = f" {len(told) - len(drawn)} more strategies are left out." if len(told) > len(drawn) else ""
    return Plot("memory_over_time", "Memory over time", f"{caption(drawn)}{left_out}", figure, tips)


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of one scale."""
    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(WIDTH_IN * columns / COLUMNS, 0.9 + HEIGHT_IN * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("live on the device (GiB)")
    return figure, list(grid.flat[:count])


def caption(panels: Sequence[Panel]) -> str:
    """How to read it."""
    measured = " The line is what a GPU held." if any(panel.measured for panel in panels) else ""
    return (
        "Predicted live bytes over a run. Stages have set widths, not to scale of time; in each of them modules follow "
        "one another as they end, every share at its highest moment. Of denoising steps that are alike one is drawn. "
        f"What is small is magnified above.{measured}"
    )


def _panel(
    axes: Axes, panel: Panel, top: float, limits: Sequence[tuple[str, float]], room_gib: float
) -> None:
    """A panel up to `top` GiB, with the limits that are below `room_gib`."""
    begins = _stack(axes, panel)
    for name, gib in [limit for limit in limits if limit[1] < room_gib]:
        axes.axhline(gib, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.55)
        axes.annotate(
            literal(name), (0, gib), xycoords=("axes fraction", "data"), xytext=(2, 1.5),
            textcoords="offset points", ha="left", fontsize=6, color=INK, alpha=0.8,
        )  # fmt: skip
    axes.set_ylim(0, top)
    axes.set_xlim(0, sum(WIDTHS.values()))
    axes.grid(visible=False)
    for x in begins[1:]:
        axes.axvline(x, color=FAINT, lw=0.6, alpha=0.35)
    places = [(begins[i] + begins[i + 1]) / 2 for i in range(len(begins) - 1)]
    axes.set_xticks(places, _names(panel.prediction), fontsize=6)
    axes.tick_params(axis="x", length=0)
    axes.set_title(
        f"{literal(panel.title)}: {panel.prediction.peak_gib:.2f} GiB", loc="left", fontsize=8.5, fontweight="bold",
        pad=27,
    )  # fmt: skip
    stage, stretch = highest(panel.prediction)
    where = where_words(stretch).replace(" in ", " in\n", 1)
    lines = [f"in {stage}: {parts_words(stretch)}", where if "\n" in where else f"{where}\n"]
    axes.annotate(
        "\n".join(lines), (0, 1), xycoords="axes fraction", xytext=(0, 3), textcoords="offset points", fontsize=6.2,
        color=INK, linespacing=1.15,
    )  # fmt: skip


def parts_words(stretch: Stretch) -> str:
    """What the peak is made of, the largest first; what rounds to nothing is left out."""
    parts = sorted(stretch.composition.items(), key=lambda part: -part[1])
    return " + ".join(f"{kind} {n / GIB:.2f}" for kind, n in parts if n / GIB >= 0.005) or "nothing"


def where_words(stretch: Stretch) -> str:
    """Where the peak is: the operation, and the module that runs it."""
    if not stretch.operation:
        return "at its beginning"
    return f"at {stretch.operation} in {stretch.module or 'the pipeline'}"


def highest(prediction: Prediction) -> tuple[str, Stretch]:
    """The stage and the stretch that have the peak of the run."""
    stage = prediction.peak_stage
    return stage, max(prediction.stages[stage].over_time, key=lambda stretch: stretch.peak)


def _names(prediction: Prediction) -> list[str]:
    """What is written under each stretch."""
    names = []
    for stage, held in prediction.stages.items():
        for stretch in held.over_time:
            alike = f"\none of {stretch.times} alike" if stretch.times > 1 else ""
            step = f"step {stretch.turn + 1}{alike}" if stage == "denoise" else stage.replace("_", "\n")
            names.append(step)
    return names


def _spans(prediction: Prediction) -> list[tuple[float, float, str, int, Stretch]]:
    """Each stretch with its beginning and end on the axis, its stage and its place among the stage's."""
    spans, begin = [], 0.0
    for stage, held in prediction.stages.items():
        width = WIDTHS[stage] / len(held.over_time)
        for i, stretch in enumerate(held.over_time):
            spans.append((begin, begin + width, stage, i, stretch))
            begin += width
    return spans


def _stack(axes: Axes, panel: Panel) -> list[float]:
    """The stacked areas and what was measured; where each stretch begins, and the last one ends."""
    spans = _spans(panel.prediction)
    xs: list[float] = []
    points: list[list[float]] = []
    for begin, end, stage, i, stretch in spans:
        kept = _telling(stretch.points)
        places = _places(begin, end, len(stretch.points))
        xs += [places[k] for k in kept]
        points += [[n / GIB for n in stretch.points[k]] for k in kept]
        for levels in panel.measured.get(stage, [])[i : i + 1]:
            known = [float("nan") if gib is None else gib for gib in levels]
            axes.plot(_places(begin, end, len(levels)), known, color=INK, lw=0.9, zorder=4)
    floor = [0.0] * len(xs)
    for kind, held in zip(KINDS, zip(*points, strict=True), strict=True):
        near = [any(held[max(0, k - 1) : k + 2]) for k in range(len(held))]
        ceiling = [a + b for a, b in zip(floor, held, strict=True)]
        axes.fill_between(xs, floor, ceiling, where=near, color=COLOUR[kind], lw=0)
        floor = ceiling
    return [*(span[0] for span in spans), spans[-1][1]]


def _places(begin: float, end: float, count: int) -> list[float]:
    """Equal steps from the beginning of a stretch to its end."""
    return [begin + (end - begin) * k / max(1, count - 1) for k in range(count)]


def _telling(points: Sequence[list[int]]) -> list[int]:
    """The places of points that differ from a neighbour: what lies within a plateau draws nothing."""
    last = len(points) - 1
    return [k for k, p in enumerate(points) if k in (0, last) or not points[k - 1] == p == points[k + 1]]


def _mark_peak(axes: Axes, panel: Panel, gid: str) -> dict[str, str]:
    """A mark at the peak, and its tooltip by `gid`."""
    stage, stretch = highest(panel.prediction)
    begin, end = next(span[:2] for span in _spans(panel.prediction) if span[-1] is stretch)
    at = max(range(len(stretch.points)), key=lambda k: sum(stretch.points[k]))
    x = _places(begin, end, len(stretch.points))[at]
    axes.plot([x], [stretch.peak / GIB], ls="", marker="v", ms=5, color=INK, gid=gid, zorder=5)
    words = f"{stretch.peak / GIB:.2f} GiB in {stage} {where_words(stretch)}: {parts_words(stretch)}"
    return {gid: f"{panel.title}: {words}"}


def _lens(axes: Axes, panel: Panel) -> None:
    """The panel magnified, in the room that it leaves."""
    low = LENS_BELOW + 0.06
    lens = axes.inset_axes((0, low, 1, 1 - low))
    begins = _stack(lens, panel)
    for x in begins[1:-1]:
        lens.axvline(x, color=FAINT, lw=0.5, alpha=0.35)
    lens.set_xlim(0, begins[-1])
    lens.set_ylim(0, panel.prediction.peak_gib * 1.08)
    lens.set_xticks([])
    lens.grid(visible=False)
    lens.yaxis.tick_right()
    lens.tick_params(labelsize=6, length=2)
    lens.spines[:].set(visible=True, linewidth=0.6, alpha=0.6)
    lens.patch.set_alpha(0)
    lens.annotate(
        "magnified", (0, 1), xycoords="axes fraction", xytext=(3, -7), textcoords="offset points", fontsize=6,
        color=INK, alpha=0.8,
    )  # fmt: skip


def _legend(figure: Figure, panels: Sequence[Panel]) -> None:
    spans = [span for panel in panels for span in _spans(panel.prediction)]
    there = [
        any(column)
        for column in zip(*(point for *_, stretch in spans for point in stretch.points), strict=True)
    ]
    marks: list[Patch | Line2D] = [
        Patch(color=COLOUR[kind], label=kind) for kind, seen in zip(KINDS, there, strict=True) if seen
    ]
    if any(panel.measured for panel in panels):
        marks.append(Line2D([], [], color=INK, lw=1, label="measured"))
    figure.legend(handles=marks, loc="outside upper left", ncols=6, fontsize=8)
