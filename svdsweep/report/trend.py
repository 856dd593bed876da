"""Trends over many sweeps as a table, Markdown, a page and plots."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from svdsweep.analysis.trend import Point, Trend
from svdsweep.report import words
from svdsweep.report.drawing import STYLE, Plot, draw, literal, looks
from svdsweep.report.markdown import cell
from svdsweep.report.markdown import table as markdown_table
from svdsweep.report.render import document

HEADER = ("sweep", "date", "svdsweep", "torch", "machine", "jobs", "total_s", "vram_gib", "change", "verdict")
NUMBERS = ("total_s", "vram_gib", "change")
LINES_AT_MOST = 7
"""More strategies in a plot could not be told apart."""
WIDE = 3.0
"""From this ratio of largest to smallest on, an axis is logarithmic."""
STYLE_WORDS = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dash and dot"}
STYLES = list(STYLE_WORDS)
RINGS = {"slower": "#B3430A", "faster": "#00704F"}


def cells(point: Point) -> list[str]:
    """A line of the table."""
    span = f" ({words.shown(point.low)}–{words.shown(point.high)})" if point.low is not None else ""
    return [
        point.sweep,
        date(point),
        point.svdsweep or "–",
        point.torch or "–",
        point.machine,
        ", ".join(f"{n} {status}" for status, n in point.statuses.items()),
        words.shown(point.total_s) + span,
        words.shown(point.vram_gib),
        words.change(point.change.latency) if point.change else "–",
        verdict(point),
    ]


def date(point: Point) -> str:
    """When its sweep began, to the minute."""
    return point.started_at[:16].replace("T", " ") or "–"


def verdict(point: Point) -> str:
    """What became of it since the sweep before, or why that is not said."""
    if point.change is None:
        return point.why
    lost = f"; {point.change.lost} jobs no longer end well" if point.change.lost else ""
    return f"{words.verdict(point.change.latency)}{lost}, against {point.against}"


def title(trend: Trend) -> str:
    """What a trend is of."""
    return f"{trend.strategy}, {trend.workload}"


def text(found: Sequence[Trend]) -> str:
    """The trends as the terminal shows them."""
    from svdsweep.terminal import table

    right = [name in NUMBERS for name in HEADER]
    return "\n\n".join(f"{title(t)}\n{table(HEADER, [cells(p) for p in t.points], right)}" for t in found)


def markdown(found: Sequence[Trend]) -> str:
    """The trends as Markdown."""
    parts = [f"## {cell(title(t))}\n\n{markdown_table(HEADER, [cells(p) for p in t.points])}" for t in found]
    return "\n\n".join(["# Trend", *parts]) + "\n"


def page(found: Sequence[Trend], above: float | None) -> str:
    """The trends as one HTML file; it tells the gate where there is one."""
    lines = [(trend, [(cells(p), p) for p in trend.points]) for trend in found]
    plots = [plot for name in ("total_s", "vram_gib") for plot in _plots(found, name)]
    heading = ", ".join(list(dict.fromkeys(t.strategy for t in found))[:4])
    facts = {"title": f"Trend of {heading}", "trends": lines, "plots": plots, "above": above}
    return document("trend.html.jinja", header=HEADER, numbers=NUMBERS, **facts)


def _plots(found: Sequence[Trend], name: str) -> list[Plot]:
    """A plot of each workload: a value of the strategies over the sweeps."""
    workloads = dict.fromkeys(t.workload for t in found)
    members = [[t for t in found if t.workload == workload] for workload in workloads]
    drawn = [_plot(trends, name, number) for number, trends in enumerate(members)]
    return [plot for plot in drawn if plot is not None]


@matplotlib.rc_context(STYLE)
def _plot(trends: Sequence[Trend], name: str, number: int) -> Plot | None:
    shown = [t for t in trends if any(getattr(p, name) is not None for p in t.points)]
    if not shown:
        return None
    sweeps = _in_order(shown)
    figure, (axes,) = draw(max(7.2, 1.6 + 0.75 * len(sweeps)), 4.2)
    machines = list(dict.fromkeys(p.machine for t in shown for p in t.points))
    styles = {machine: STYLES[i % len(STYLES)] for i, machine in enumerate(machines)}
    tips: dict[str, str] = {}
    look = looks([t.strategy for t in shown])
    for place, trend in enumerate(shown[:LINES_AT_MOST]):
        tips |= _line(axes, trend, name, sweeps, styles, look[trend.strategy], f"{name}-{number}-{place}")
    values = [v for t in shown[:LINES_AT_MOST] for p in t.points if (v := getattr(p, name))]
    if values and max(values) > WIDE * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(
            ScalarFormatter() if max(values) < 10 * min(values) else NullFormatter()
        )
    labels = [f"{literal(sweep.rstrip('/').rpartition('/')[2])}\n{at}" for sweep, at in sweeps]
    axes.set_xticks(range(len(sweeps)), labels, rotation=30, ha="right", fontsize=8)
    what, unit = ("latency of one video", "s") if name == "total_s" else ("VRAM in tensors, peak", "GiB")
    axes.set_ylabel(f"{what} ({unit})")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4, fontsize=8)
    caption = f"{shown[0].workload}. "
    if len(machines) > 1:
        caption += f"{'; '.join(f'{STYLE_WORDS[styles[m]]}: {m}' for m in machines)}. "
    if name == "total_s":
        caption += "Bars are 95 % intervals, a ring marks what became slower or faster."
    if (more := len(shown) - LINES_AT_MOST) > 0:
        caption += f" {more} more strategies are left out."
    heading = "Latency" if name == "total_s" else "VRAM"
    return Plot(f"trend_{name}_{number}", f"{heading} over the sweeps", caption, figure, tips)


def _in_order(trends: Sequence[Trend]) -> list[tuple[str, str]]:
    """Every sweep of some trends with its day, by date."""
    points = {p.sweep: p for t in trends for p in t.points}.values()
    in_order = sorted(points, key=lambda p: (not p.started_at, p.started_at))
    return [(p.sweep, date(p)[:10]) for p in in_order]


def _line(
    axes: Axes,
    trend: Trend,
    name: str,
    sweeps: Sequence[tuple[str, str]],
    styles: Mapping[str, str],
    look: Mapping[str, Any],
    gid: str,
) -> dict[str, str]:
    """Draw a trend, a line for each machine; returns the tooltips of its marks."""
    where = {sweep: x for x, (sweep, _) in enumerate(sweeps)}
    colour, tips = look["color"], {}
    for nth, machine in enumerate(dict.fromkeys(p.machine for p in trend.points)):
        points = [p for p in trend.points if p.machine == machine and getattr(p, name) is not None]
        at, values = [where[p.sweep] for p in points], [getattr(p, name) for p in points]
        label = literal(trend.strategy) if not nth else None
        axes.plot(at, values, lw=1.4, color=colour, label=label, ls=styles[machine])
        for number, (x, y, p) in enumerate(zip(at, values, points, strict=True)):
            mark = f"trend-{gid}-{nth}-{number}"
            ring = RINGS.get(p.change.latency.verdict) if p.change and name == "total_s" else None
            axes.plot([x], [y], ls="", ms=6, color=colour, marker=look["marker"], gid=mark)
            if ring:
                axes.plot([x], [y], ls="", ms=12, marker="o", mfc="none", mec=ring, mew=1.6)
            if name == "total_s" and p.low is not None and p.high is not None and not math.isnan(p.low):
                axes.vlines(x, p.low, p.high, color=colour, lw=1)
            tips[mark] = f"{trend.strategy}, {p.sweep}, {date(p)}, {machine}: {words.shown(y)}; {verdict(p)}"
    return tips
