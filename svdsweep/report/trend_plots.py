"""Plots of trends: a value of each strategy over the sweeps, a line for each machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from svdsweep.analysis.trend import Point, Trend
from svdsweep.report.drawing import STYLE, Plot, draw, literal, looks
from svdsweep.report.words import shown

LINES_AT_MOST = 7
"""More strategies in a plot could not be told apart."""
WIDE, WIDEST = 3.0, 10.0
"""From these ratios of the largest to the smallest value on, an axis is logarithmic, and only its powers of ten are
labelled."""
STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dash and dot"}
RINGS = {"slower": "#B3430A", "faster": "#00704F"}
Words = Callable[[Point], str]
"""What a tooltip says of a point beside its value."""


@dataclass(frozen=True)
class Quantity:
    """What is drawn: a field of `Point`."""

    name: str
    title: str
    label: str
    has_verdict: bool


QUANTITIES = (
    Quantity("total_s", "Latency over the sweeps", "latency of one video (s)", has_verdict=True),
    Quantity("vram_gib", "VRAM over the sweeps", "VRAM in tensors, peak (GiB)", has_verdict=False),
)


def draw_all(found: Sequence[Trend], told: Words) -> list[Plot]:
    """Latency, then VRAM where it is known: a plot of each workload."""
    workloads = list(dict.fromkeys(trend.workload for trend in found))
    plots = []
    for quantity in QUANTITIES:
        for number, workload in enumerate(workloads):
            known = [t for t in found if t.workload == workload and _values([t], quantity)]
            if known:
                plots.append(_plot(known, quantity, f"trend_{quantity.name}_{number}", told))
    return plots


def _values(trends: Sequence[Trend], quantity: Quantity) -> list[float]:
    return [value for t in trends for p in t.points if (value := getattr(p, quantity.name)) is not None]


@matplotlib.rc_context(STYLE)
def _plot(trends: Sequence[Trend], quantity: Quantity, name: str, told: Words) -> Plot:
    drawn = trends[:LINES_AT_MOST]
    points = sorted((p for t in drawn for p in t.points), key=lambda p: (not p.started_at, p.started_at))
    places = {sweep: x for x, sweep in enumerate(dict.fromkeys(p.sweep for p in points))}
    machines = dict.fromkeys(p.machine for p in points)
    styles = {machine: list(STYLES)[i % len(STYLES)] for i, machine in enumerate(machines)}
    figure, (axes,) = draw(max(7.2, 1.6 + 0.75 * len(places)), 4.2)
    tips: dict[str, str] = {}
    look = looks([t.strategy for t in drawn])
    for number, trend in enumerate(drawn):
        marks = _line(axes, trend, quantity, places, styles, look[trend.strategy])
        for nth, (mark, point) in enumerate(marks):
            mark.set_gid(gid := f"{name}-{number}-{nth}")
            tips[gid] = f"{trend.strategy}: {shown(getattr(point, quantity.name))}, {told(point)}"
    _scale(axes, _values(drawn, quantity))
    days = {p.sweep: p.started_at[:10] for p in points}
    labels = [f"{literal(sweep.rstrip('/').rpartition('/')[2])}\n{days[sweep]}" for sweep in places]
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize=8)
    axes.set_ylabel(quantity.label)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4, fontsize=8)
    caption = _caption(drawn[0].workload, quantity, styles, len(trends) - len(drawn))
    return Plot(name, quantity.title, caption, figure, tips)


def _caption(workload: str, quantity: Quantity, styles: Mapping[str, str], left_out: int) -> str:
    parts = [f"{workload}."]
    if len(styles) > 1:
        parts.append(f"{'; '.join(f'{STYLES[style]}: {machine}' for machine, style in styles.items())}.")
    if quantity.has_verdict:
        parts.append("Bars are 95 % intervals, a ring marks what became slower or faster.")
    if left_out:
        parts.append(f"{left_out} more strategies are left out.")
    return " ".join(parts)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis where values lie far apart, so that a change of some percent is seen of all of them."""
    if min(values) <= 0 or max(values) < WIDE * min(values):
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    few = max(values) < WIDEST * min(values)
    axes.yaxis.set_minor_formatter(ScalarFormatter() if few else NullFormatter())


def _line(
    axes: Axes,
    trend: Trend,
    quantity: Quantity,
    places: Mapping[str, int],
    styles: Mapping[str, str],
    look: Any,
) -> list[tuple[Any, Point]]:
    """Draw a trend, a line for each machine; returns the marks with their points."""
    colour, marks = look["color"], []
    known = [p for p in trend.points if getattr(p, quantity.name) is not None]
    for nth, machine in enumerate(dict.fromkeys(p.machine for p in known)):
        points = [p for p in known if p.machine == machine]
        at, values = [places[p.sweep] for p in points], [getattr(p, quantity.name) for p in points]
        label = literal(trend.strategy) if not nth else None
        axes.plot(at, values, lw=1.4, color=colour, label=label, ls=styles[machine])
        for x, y, point in zip(at, values, points, strict=True):
            (mark,) = axes.plot([x], [y], ls="", ms=6, color=colour, marker=look["marker"])
            marks.append((mark, point))
            if quantity.has_verdict:
                _verdict(axes, x, y, point, colour)
    return marks


def _verdict(axes: Axes, x: float, y: float, point: Point, colour: str) -> None:
    """The interval of a latency, and a ring where it became slower or faster."""
    if point.low is not None and point.high is not None:
        axes.vlines(x, point.low, point.high, color=colour, lw=1)
    if point.change and (ring := RINGS.get(point.change.latency.verdict)):
        axes.plot([x], [y], ls="", ms=12, marker="o", mfc="none", mec=ring, mew=1.6)
