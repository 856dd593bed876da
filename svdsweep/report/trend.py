"""Trends over many sweeps as a table, Markdown and a page."""

from collections.abc import Sequence

from svdsweep.analysis.trend import Point, Trend
from svdsweep.errors import some
from svdsweep.report import trend_plots, words
from svdsweep.report.markdown import cell
from svdsweep.report.markdown import table as markdown_table
from svdsweep.report.render import document

HEADER = ("sweep", "date", "svdsweep", "torch", "machine", "jobs", "total_s", "vram_gib", "change", "verdict")
NUMBERS = ("total_s", "vram_gib", "change")
NAMED_AT_MOST = 4
"""Strategies in the page's title."""


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


def heading(trend: Trend) -> str:
    """What a trend is of."""
    return f"{trend.strategy}, {trend.workload}"


def text(found: Sequence[Trend]) -> str:
    """The trends as the terminal shows them."""
    from svdsweep.terminal import table

    right = [name in NUMBERS for name in HEADER]
    return "\n\n".join(f"{heading(t)}\n{table(HEADER, [cells(p) for p in t.points], right)}" for t in found)


def markdown(found: Sequence[Trend]) -> str:
    """The trends as Markdown."""
    parts = [
        f"## {cell(heading(t))}\n\n{markdown_table(HEADER, [cells(p) for p in t.points])}" for t in found
    ]
    return "\n\n".join(["# Trend", *parts]) + "\n"


def page(found: Sequence[Trend], above: float | None) -> str:
    """The trends as one HTML file; it tells the gate where there is one."""
    lines = [(trend, [(cells(p), p) for p in trend.points]) for trend in found]
    names = list(dict.fromkeys(trend.strategy for trend in found))
    title = f"Trend of {some(names, NAMED_AT_MOST)}"
    plots = trend_plots.draw_all(found, lambda p: f"{p.sweep}, {date(p)}, {p.machine}; {verdict(p)}")
    facts = {"header": HEADER, "numbers": NUMBERS, "trends": lines, "plots": plots, "above": above}
    return document("trend.html.jinja", title=title, **facts)
