"""Plots of how metrics answer to the settings that were swept: lines along one, heat maps over two."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes

from svdsweep.analysis.responses import OF_WORDS, apart, response
from svdsweep.analysis.strategies import BASELINE
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import numeric
from svdsweep.report.drawing import STYLE, Looks, Plot, draw, literal, looks
from svdsweep.report.words import has_value, shown
from svdsweep.store.columns import Column

LINES_AT_MOST = 6
"""More lines in a plot could not be told apart."""


@matplotlib.rc_context(STYLE)
def responses(sweep: Sweep, axis: str, metrics: Sequence[Column], look: Looks) -> Plot | None:
    """Metrics along a swept setting, a line a strategy and whatever else varies, with intervals over seeds and images
    where there are three."""
    metrics = _measured(sweep, metrics)
    if not metrics:
        return None
    figure, panels = draw(3.3 * len(metrics) + 0.6, 3.2, len(metrics))
    tips, of, left_out = {}, {}, 0
    for i, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
        groups = response(sweep.ok, axis, metric.name).groupby(["memory", "others"], sort=False)
        lines = {", ".join(filter(None, map(str, names))): line for names, line in groups}
        titles = sorted(lines, key=lambda title: lines[title]["memory"].iloc[0] != BASELINE)
        left_out = max(left_out, len(titles) - LINES_AT_MOST)
        own_looks = looks(titles)
        for number, title in enumerate(titles[:LINES_AT_MOST]):
            shape, place = look.get(title) or own_looks[title], f"response-{axis}-{i}-{number}"
            for gid, point in _line(axes, lines[title], shape, title, place).items():
                tips[gid] = f"{title}, {axis}={shown(point['value'])}: {metric.name} {_point_words(point)}"
                of[gid] = {"memory": point["memory"], axis: point["value"]}
        axes.set(xlabel=axis, title=metric.name, ylabel=metric.unit)
        if axis in OF_WORDS:
            words = list(dict.fromkeys(sweep.ok[axis]))
            axes.set_xticks(range(len(words)), words, rotation=30)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(labels)), fontsize=8)
    caption = "Means over images and seeds; bands are 95 % intervals (Student's t), drawn from 3 images or seeds on."
    if left_out:
        caption += f" {left_out} more lines are left out."
    return Plot(f"response_{axis}", f"Along {axis}", caption, figure, tips, of)


def _measured(sweep: Sweep, metrics: Sequence[Column]) -> list[Column]:
    """The metrics of which some job has a number."""
    return [m for m in metrics if m.name in sweep.ok and numeric(sweep.ok[m.name]).notna().any()]


def _line(axes: Axes, line: pd.DataFrame, look: Mapping[str, Any], title: str, place: str) -> dict[str, Any]:
    """Draw the means of a line, their band and a mark each; returns the points by the `gid` of their mark."""
    colour = look["color"]
    axes.plot(line["at"], line["mean"], lw=1.4, color=colour, label=literal(title))
    sure = line.dropna(subset=["low"])
    axes.fill_between(sure["at"], sure["low"], sure["high"], color=colour, alpha=0.15, lw=0)
    points = {f"{place}-{k}": point for k, point in enumerate(line.to_dict("records"))}
    for gid, point in points.items():
        axes.plot([point["at"]], [point["mean"]], ls="", ms=5, color=colour, marker=look["marker"], gid=gid)
    return points


def _point_words(point: Mapping[str, Any]) -> str:
    span = f" ({shown(point['low'])} to {shown(point['high'])})" if has_value(point["low"]) else ""
    return f"{shown(point['mean'])}{span}, n={point['n']}"


@matplotlib.rc_context(STYLE)
def heatmaps(sweep: Sweep, x: str, y: str, metrics: Sequence[Column]) -> Plot | None:
    """Metrics over two swept settings, means over images and seeds, under the first strategy; of whatever else varies
    with the first values."""
    metrics = _measured(sweep, metrics)
    if not metrics:
        return None
    name = BASELINE if (sweep.ok["memory"] == BASELINE).any() else str(sweep.ok["memory"].iloc[0])
    table = sweep.ok[sweep.ok["memory"] == name]
    fixed = {other: table[other].iloc[0] for other in apart(table, x) if other != y}
    for other, value in fixed.items():
        table = table[table[other] == value]
    under = ", ".join([name, *(f"{other}={shown(value)}" for other, value in fixed.items())])
    figure, panels = draw(3.3 * len(metrics) + 0.6, 3.2, len(metrics))
    tips: dict[str, str] = {}
    for i, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
        values = table.assign(value=numeric(table[metric.name]).astype(float))
        grid = values.pivot_table(index=y, columns=x, values="value", aggfunc="mean")
        if grid.empty:
            continue
        tips |= _cells(axes, grid, metric.name, f"heat-{x}-{y}-{i}")
        crowded = len(grid.columns) > 5
        axes.set_xticks(range(len(grid.columns)), map(shown, grid.columns), rotation=30 if crowded else 0)
        axes.set_yticks(range(len(grid.index)), map(shown, grid.index))
        axes.set(xlabel=x, ylabel=y if not i else "", title=metric.name)
        axes.grid(visible=False)
    return Plot(
        f"heat_{x}_{y}",
        f"{x} × {y}",
        f"Means over images and seeds under {under}; bright is high.",
        figure,
        tips,
    )


def _cells(axes: Axes, grid: pd.DataFrame, metric: str, place: str) -> dict[str, str]:
    """Draw a coloured field for each mean, with its number where there is room; returns the tooltips."""
    low, high = float(grid.min().min()), float(grid.max().max())
    x, y, tips = grid.columns.name, grid.index.name, {}
    for r, (at_y, line) in enumerate(grid.iterrows()):
        for c, (at_x, value) in enumerate(line.items()):
            if pd.isna(value):
                continue
            share = (value - low) / (high - low) if high > low else 0.5
            colour, gid = matplotlib.colormaps["cividis"](share), f"{place}-{r}-{c}"
            (field,) = axes.bar([c], [1], 1, r - 0.5, color=colour, edgecolor="white", linewidth=0.6)
            field.set_gid(gid)
            tips[gid] = f"{x}={shown(at_x)}, {y}={shown(at_y)}: {metric} {shown(float(value))}"
            if len(grid.columns) <= 8:
                ink = "white" if share < 0.5 else "black"
                axes.text(c, r, f"{value:.3g}", ha="center", va="center", fontsize=8, color=ink)
    return tips
