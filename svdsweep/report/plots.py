"""The report's plots, by matplotlib: each a function from tables to a `Plot`, SVG on the page and PNG in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd

from svdsweep.analysis.responses import response
from svdsweep.analysis.strategies import BASELINE, Strategy, front, numeric
from svdsweep.analysis.sweep import Sweep
from svdsweep.metrics import COLUMNS
from svdsweep.report.drawing import COLOURS, FAINT, HATCHES, INK, STYLE, Plot, draw
from svdsweep.report.words import MEMORY_WORDS, brief, known, shown
from svdsweep.store.columns import STAGES

LINES_AT_MOST = 6
"""Strategies in a plot of lines; more could not be told apart."""
POINTS_AT_MOST = 400
"""Repeats drawn for a strategy; more are thinned evenly."""


@matplotlib.rc_context(STYLE)
def pareto(sweep: Sweep, found: Sequence[Strategy], look: Mapping[str, Mapping[str, Any]]) -> Plot | None:
    """Latency against peak memory; the front joined by a line."""
    drawn = [s for s in found if s.total_s is not None and s.memory_gib is not None]
    if len(drawn) < 2:
        return None
    figure, (axes,) = draw(7.2, 4.2)
    tips = {}
    best = [s for s in front(found) if s in drawn]
    edge = _edge(best)
    axes.plot(
        [s.memory_gib or 0 for s in edge],
        [s.total_s or 0 for s in edge],
        color=FAINT, alpha=0.4, lw=1, ls="--", zorder=1,
    )  # fmt: skip
    for i, s in enumerate(drawn):
        whole = s.complete
        axes.plot(
            [s.memory_gib or 0], [s.total_s or 0], ls="", ms=9 if s in best else 7, gid=f"pareto-{i}",
            markerfacecolor=look[s.name]["color"] if whole else "none",
            markeredgecolor=look[s.name]["color"], marker=look[s.name]["marker"],
        )  # fmt: skip
        axes.annotate(
            s.name, (s.memory_gib or 0, s.total_s or 0), xytext=(7, 5 if i % 2 else -11),
            textcoords="offset points", fontsize=8, color=INK,
        )  # fmt: skip
        tips[f"pareto-{i}"] = (
            f"{s.name}: {shown(s.total_s)} s, {shown(s.memory_gib)} GiB, "
            f"{'the reference' if s.name == BASELINE else f'PSNR to baseline {shown(s.psnr_db)} dB'}"
            f"{'' if whole else ', not all jobs ended well'}{', on the front' if s in best else ''}"
        )
    axes.set(xlabel=f"{MEMORY_WORDS[sweep.memory_column]} (GiB)", ylabel="latency of one video (s)")
    axes.margins(0.15)
    return Plot(
        "pareto",
        "Latency against memory",
        "Lower left is better. Large marks are the front over memory, latency and likeness to the baseline's frames, "
        "the dashed line that over memory and latency alone; hollow marks had jobs that did not end well.",
        figure,
        tips,
    )


def _edge(best: Sequence[Strategy]) -> list[Strategy]:
    """Those that no other beats in both memory and latency, by memory."""
    edge: list[Strategy] = []
    for s in sorted(best, key=lambda s: (s.memory_gib or 0, s.total_s or 0)):
        if not edge or (s.total_s or 0) < (edge[-1].total_s or 0):
            edge.append(s)
    return edge


def stage_times(sweep: Sweep, found: Sequence[Strategy]) -> Plot | None:
    """Where the time goes: stages stacked, a bar a strategy."""
    return _stages(
        sweep,
        found,
        "_s",
        "stage_times",
        "Where the time goes",
        "latency (s)",
        "Medians of the stages, stacked.",
        stacked=True,
    )


def stage_memory(sweep: Sweep, found: Sequence[Strategy]) -> Plot | None:
    """Which stage needs the memory: peaks side by side, for peaks do not add up."""
    return _stages(
        sweep, found, "_vram_allocated_peak_gib", "stage_memory", "Which stage needs the VRAM",
        "allocated peak (GiB)", "Peaks of the stages, side by side: they do not add up.", stacked=False,
    )  # fmt: skip


@matplotlib.rc_context(STYLE)
def _stages(
    sweep: Sweep, found: Sequence[Strategy], ending: str, name: str, title: str, label: str, caption: str,
    stacked: bool,
) -> Plot | None:  # fmt: skip
    columns = [f"{stage}{ending}" for stage in STAGES]
    columns = [c for c in columns if c in sweep.ok and numeric(sweep.ok[c]).notna().any()]
    names = list(dict.fromkeys(s.name for s in found if s.total_s is not None))
    if not columns or not names:
        return None
    stages = sweep.ok[["memory", *columns]].assign(**{c: numeric(sweep.ok[c]).astype(float) for c in columns})
    medians = stages.groupby("memory")[columns].median().reindex(names)
    figure, (axes,) = draw(7.2, 1.0 + 0.34 * len(names) * (1 if stacked else 1.7))
    tips, left = {}, pd.Series(0.0, index=names)
    thick = 0.62 if stacked else 0.8 / len(columns)
    for i, column in enumerate(columns):
        stage = column.removesuffix(ending)
        values = medians[column].astype(float).fillna(0.0)
        places = [row + (0 if stacked else (i - (len(columns) - 1) / 2) * thick) for row in range(len(names))]
        bars = axes.barh(
            places, values, thick, left=left if stacked else None, color=COLOURS[i],
            hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0.4, label=stage,
        )  # fmt: skip
        for strategy, bar, value in zip(names, bars, values, strict=True):
            bar.set_gid(f"{name}-{i}-{names.index(strategy)}")
            tips[f"{name}-{i}-{names.index(strategy)}"] = (
                f"{strategy}, {stage}: {shown(float(value))} {label[-5:]}"
            )
        left = left + values
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    figure.legend(loc="outside upper left", ncols=4, fontsize=8)
    return Plot(name, title, caption, figure, tips)


@matplotlib.rc_context(STYLE)
def responses(
    sweep: Sweep, axis: str, metrics: Sequence[str], look: Mapping[str, Mapping[str, Any]]
) -> Plot | None:
    """Metrics along a swept setting, a line a strategy, with intervals over seeds and images where there are three."""
    metrics = [m for m in metrics if m in sweep.ok and numeric(sweep.ok[m]).notna().any()]
    if not metrics:
        return None
    names = sorted(sweep.ok["memory"].unique(), key=lambda n: n != BASELINE)[:LINES_AT_MOST]
    figure, panels = draw(3.3 * len(metrics) + 0.6, 3.2, len(metrics))
    tips = {}
    for i, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
        lines = response(sweep.ok[sweep.ok["memory"].isin(names)], axis, metric)
        for strategy, line in lines.groupby("memory", sort=False):
            style = look[str(strategy)]
            axes.plot(line["at"], line["mean"], lw=1.4, color=style["color"], label=str(strategy))
            sure = line.dropna(subset=["low"])
            axes.fill_between(sure["at"], sure["low"], sure["high"], color=style["color"], alpha=0.15, lw=0)
            for k, point in enumerate(line.to_dict("records")):
                gid = f"response-{axis}-{i}-{names.index(strategy)}-{k}"
                axes.plot(
                    [point["at"]],
                    [point["mean"]],
                    ls="",
                    ms=5,
                    color=style["color"],
                    marker=style["marker"],
                    gid=gid,
                )
                span = f" ({shown(point['low'])} to {shown(point['high'])})" if known(point["low"]) else ""
                at = f"{strategy}, {axis}={shown(point['value'])}"
                tips[gid] = f"{at}: {metric} {shown(point['mean'])}{span}, n={point['n']}"
        unit = COLUMNS[metric].unit if metric in COLUMNS else "s" if metric.endswith("_s") else ""
        axes.set(xlabel=axis, title=metric, ylabel=unit)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(labels)), fontsize=8)
    left_out = sweep.ok["memory"].nunique() - len(names)
    caption = "Means over images and seeds; bands are 95 % intervals (Student's t), drawn from 3 images or seeds on."
    if left_out:
        caption += f" {left_out} strategies are left out."
    return Plot(f"response_{axis}", f"Along {axis}", caption, figure, tips)


@matplotlib.rc_context(STYLE)
def heatmaps(sweep: Sweep, axes_names: tuple[str, str], metrics: Sequence[str]) -> Plot | None:
    """Metrics over two swept settings under the first strategy, means over the rest."""
    metrics = [m for m in metrics if m in sweep.ok and numeric(sweep.ok[m]).notna().any()]
    if not metrics:
        return None
    name = BASELINE if (sweep.ok["memory"] == BASELINE).any() else str(sweep.ok["memory"].iloc[0])
    table = sweep.ok[sweep.ok["memory"] == name]
    x, y = axes_names
    figure, panels = draw(3.3 * len(metrics) + 0.6, 3.2, len(metrics))
    tips = {}
    for i, (axes, metric) in enumerate(zip(panels, metrics, strict=True)):
        values = table.assign(value=numeric(table[metric]).astype(float))
        grid = values.pivot_table(index=y, columns=x, values="value", aggfunc="mean")
        if grid.empty:
            continue
        cells = grid.to_numpy(float)
        low, high = float(grid.min().min()), float(grid.max().max())
        colours = matplotlib.colormaps["cividis"]
        for r in range(len(grid.index)):
            for c in range(len(grid.columns)):
                value = float(cells[r, c])
                if pd.isna(value):
                    continue
                share = (value - low) / (high - low) if high > low else 0.5
                (cell,) = axes.bar(
                    [c], [1], 1, r - 0.5, color=colours(share), edgecolor="white", linewidth=0.6
                )
                gid = f"heat-{x}-{y}-{i}-{r}-{c}"
                cell.set_gid(gid)
                tips[gid] = (
                    f"{x}={brief(grid.columns[c])}, {y}={brief(grid.index[r])}: {metric} {shown(value)}"
                )
                if len(grid.columns) <= 8:
                    ink = "white" if share < 0.5 else "black"
                    axes.text(c, r, f"{value:.3g}", ha="center", va="center", fontsize=8, color=ink)
        axes.set_xticks(
            range(len(grid.columns)),
            [brief(v) for v in grid.columns],
            rotation=30 if len(grid.columns) > 5 else 0,
        )
        axes.set_yticks(range(len(grid.index)), [brief(v) for v in grid.index])
        axes.set(xlabel=x, ylabel=y if not i else "", title=metric)
        axes.grid(visible=False)
    return Plot(f"heat_{x}_{y}", f"{x} × {y}", f"Means under {name}; bright is high.", figure, tips)


@matplotlib.rc_context(STYLE)
def repeats(sweep: Sweep, found: Sequence[Strategy], look: Mapping[str, Mapping[str, Any]]) -> Plot | None:
    """Every timed run of every strategy, as a share of its job's median: how much latency scatters."""
    names = list(dict.fromkeys(s.name for s in found))
    figure, (axes,) = draw(7.2, 1.0 + 0.34 * len(names))
    drawn = 0
    thinned = False
    for row, name in enumerate(names):
        values = [
            v / middle
            for key in sweep.ok.loc[sweep.ok["memory"] == name, "key"]
            if len(runs := sweep.repeats.get(key, [])) > 1
            for middle in [statistics.median(runs)]
            for v in runs
        ]
        thinned |= len(values) > POINTS_AT_MOST
        values = values[:: -(-len(values) // POINTS_AT_MOST)] if values else []
        drawn += len(values)
        places = [row + 0.22 * ((i * 0.618) % 1 - 0.5) * 2 for i in range(len(values))]
        axes.plot(values, places, ls="", marker="o", ms=3.5, alpha=0.55, color=look[name]["color"])
    if not drawn:
        return None
    axes.axvline(1, color=FAINT, alpha=0.5, lw=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("total_s of a repeat ÷ its job's median")
    caption = (
        "Every timed repeat; none is dropped."
        if not thinned
        else f"At most {POINTS_AT_MOST} repeats a strategy."
    )
    return Plot("repeats", "Scatter of the repeats", caption, figure)
