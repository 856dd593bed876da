"""Plots that set the strategies beside each other: latency against memory, time and memory by stage, scatter."""

import statistics
from collections.abc import Iterable, Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svdsweep.analysis.strategies import BASELINE, Strategy, front, titles
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import numeric
from svdsweep.metrics import CATALOGUE
from svdsweep.report.drawing import COLOURS, FAINT, HATCHES, INK, STYLE, Looks, Plot, draw, literal, name_rows
from svdsweep.report.words import MEMORY_WORDS, shown
from svdsweep.store.columns import STAGES

BARS_AT_MOST = 30
PARTS = {
    "load_s": "load",
    "compile_s": "compile",
    "warmup_s": "warm-up",
    "idle_s": "waiting for the framework",
}
"""What a job costs beside its run, by its columns."""
POINTS_AT_MOST = 400
"""Repeats drawn for a strategy; more are thinned evenly."""


@matplotlib.rc_context(STYLE)
def pareto(sweep: Sweep, strategies: Sequence[Strategy], look: Looks) -> Plot | None:
    """Latency against peak memory; the front joined by a line."""
    placed = [s for s in strategies if s.total_s is not None and s.memory_gib is not None]
    if len(placed) < 2:
        return None
    figure, (axes,) = draw(7.2, 4.2)
    best = [s for s in front(strategies) if s in placed]
    for edge in _edges(best):
        axes.plot([x for x, _ in edge], [y for _, y in edge], color=FAINT, alpha=0.4, lw=1, ls="--", zorder=1)
    tips, of = {}, {}
    for i, (s, title) in enumerate(zip(placed, titles(placed), strict=True)):
        _mark(axes, s, look, f"pareto-{i}", large=s in best)
        of[f"pareto-{i}"] = _jobs(s)
        beside = (7, 5 if i % 2 else -11)
        axes.annotate(
            literal(title), _at(s), xytext=beside, textcoords="offset points", fontsize=8, color=INK
        )
        tips[f"pareto-{i}"] = f"{title}: {_tip(s)}" + (", on the front" if s in best else "")
    axes.set_xlabel(f"{MEMORY_WORDS[sweep.memory_column]} ({CATALOGUE[sweep.memory_column].unit})")
    axes.set_ylabel(f"latency of one video ({CATALOGUE['total_s'].unit})")
    axes.margins(0.15)
    caption = (
        "Lower left is better. Large marks are the front over memory, latency and likeness to the baseline's frames, "
        "the dashed line that over memory and latency alone; hollow marks had jobs that did not end well."
    )
    return Plot("pareto", "Latency against memory", caption, figure, tips, of)


def _jobs(s: Strategy) -> dict[str, str]:
    """What the jobs of a strategy have in common."""
    return {"memory": s.name, "workload": s.workload, "machine": s.machine}


def _at(s: Strategy) -> tuple[float, float]:
    """A strategy's place in the plot: memory (GiB), latency (s)."""
    return s.memory_gib or 0.0, s.total_s or 0.0


def _edges(best: Sequence[Strategy]) -> list[list[tuple[float, float]]]:
    """For each workload and machine the places of the strategies that no other there beats in both memory and latency,
    by memory."""
    edges: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for s in sorted(best, key=_at):
        edge = edges.setdefault((s.workload, s.machine), [])
        if not edge or _at(s)[1] < edge[-1][1]:
            edge.append(_at(s))
    return list(edges.values())


def _mark(axes: Axes, s: Strategy, look: Looks, gid: str, large: bool) -> None:
    colour, marker = look[s.name]["color"], look[s.name]["marker"]
    (x, y), fill = _at(s), colour if s.complete else "none"
    axes.plot([x], [y], ls="", ms=9 if large else 7, gid=gid, marker=marker, mfc=fill, markeredgecolor=colour)


def _tip(s: Strategy) -> str:
    likeness = "the reference" if s.name == BASELINE else f"PSNR to baseline {shown(s.psnr_db)} dB"
    ended = "" if s.complete else ", not all jobs ended well"
    return f"{shown(s.total_s)} s, {shown(s.memory_gib)} GiB, {likeness}{ended}"


def stage_times(sweep: Sweep, strategies: Sequence[Strategy]) -> Plot | None:
    """Where the time goes: stages stacked, a bar a strategy."""
    medians = _medians(sweep, strategies, "_s")
    if medians.empty:
        return None
    figure, tips = _bars(medians, "stage_times", "latency", CATALOGUE["total_s"].unit, stacked=True)
    caption = "Medians of the stages, stacked." + _left_out(strategies)
    return Plot("stage_times", "Where the time goes", caption, figure, tips, _of_bars(strategies, tips))


def job_times(sweep: Sweep, strategies: Sequence[Strategy]) -> Plot | None:
    """What a job costs its device beside the run itself, stacked, a bar a strategy: loading, compiling, warming up, and
    waiting for the framework."""
    columns = {column: part for column, part in PARTS.items() if column in sweep.ok}
    if "idle_s" not in columns:
        return None
    values = sweep.ok[[*columns]].apply(numeric).astype(float).fillna(0.0)
    means = _by_strategy(sweep, strategies, values.rename(columns=columns), "mean")
    figure, tips = _bars(means, "job_times", "a job, mean", CATALOGUE["total_s"].unit, stacked=True)
    judging_s = numeric(sweep.ok["judge_s"]).mean() if "judge_s" in sweep.ok else None
    caption = (
        "Means over the jobs. Waiting is the framework's own part, from the end of a run to the next: judging, writing "
        "and reading, as far as they are not done beside the next job."
        + (f" Judging takes {shown(float(judging_s))} s a job in all." if judging_s else "")
        + _left_out(strategies)
    )
    return Plot(
        "job_times", "What a job takes beside its run", caption, figure, tips, _of_bars(strategies, tips)
    )


def stage_memory(sweep: Sweep, strategies: Sequence[Strategy]) -> Plot | None:
    """Which stage needs the memory: peaks side by side, for peaks do not add up."""
    medians = _medians(sweep, strategies, "_vram_allocated_peak_gib")
    if medians.empty:
        return None
    unit = CATALOGUE["vram_allocated_peak_gib"].unit
    figure, tips = _bars(medians, "stage_memory", "allocated peak", unit, stacked=False)
    caption = "Peaks of the stages, side by side: they do not add up." + _left_out(strategies)
    return Plot(
        "stage_memory", "Which stage needs the VRAM", caption, figure, tips, _of_bars(strategies, tips)
    )


def _medians(sweep: Sweep, strategies: Sequence[Strategy], ending: str) -> pd.DataFrame:
    """The median of each stage's column with that ending, a line a strategy of a workload and machine; stages without
    a value are left out."""
    columns = {f"{stage}{ending}": stage for stage in STAGES if f"{stage}{ending}" in sweep.ok}
    values = sweep.ok[[*columns]].apply(numeric).astype(float)
    stages = values.rename(columns=columns).dropna(axis=1, how="all")
    return _by_strategy(sweep, strategies, stages, "median")


def _by_strategy(
    sweep: Sweep, strategies: Sequence[Strategy], values: pd.DataFrame, how: str
) -> pd.DataFrame:
    """The median or mean of each column, a line a strategy of a workload and machine."""
    drawn = _with_bar(strategies)
    found = values.groupby([sweep.ok[name] for name in ("workload", "machine", "memory")]).agg(how)
    found = found.reindex([(s.workload, s.machine, s.name) for s in drawn]).fillna(0.0)
    return found.set_axis(titles(drawn), axis="index")


def _with_bar(strategies: Sequence[Strategy]) -> list[Strategy]:
    return [s for s in strategies if s.total_s is not None][:BARS_AT_MOST]


def _of_bars(strategies: Sequence[Strategy], bars: Iterable[str]) -> dict[str, dict[str, str]]:
    """Whose jobs each bar is of, by its `gid`, which ends with its line."""
    drawn = _with_bar(strategies)
    return {gid: _jobs(drawn[int(gid.rpartition("-")[2])]) for gid in bars}


def _left_out(strategies: Sequence[Strategy]) -> str:
    """How many strategies have no bar, in a sentence; nothing where all have."""
    more = sum(s.total_s is not None for s in strategies) - BARS_AT_MOST
    return f" {more} more are left out." if more > 0 else ""


@matplotlib.rc_context(STYLE)
def _bars(
    medians: pd.DataFrame, name: str, what: str, unit: str, stacked: bool
) -> tuple[Figure, dict[str, str]]:
    """A group of bars a strategy (the lines of `medians`), a bar a stage (its columns); and their tooltips."""
    count = len(medians.columns)
    figure, (axes,) = draw(7.2, 1.0 + 0.34 * len(medians) * (1 if stacked else 1.7))
    tips, left = {}, pd.Series(0.0, index=medians.index)
    thick = 0.62 if stacked else 0.8 / count
    for i, stage in enumerate(medians.columns):
        above = 0 if stacked else (i - (count - 1) / 2) * thick
        bars = axes.barh(
            [row + above for row in range(len(medians))], medians[stage], thick, left=left if stacked else None,
            color=COLOURS[i], hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0.4, label=stage,
        )  # fmt: skip
        for row, (strategy, value) in enumerate(medians[stage].items()):
            bars[row].set_gid(f"{name}-{i}-{row}")
            tips[f"{name}-{i}-{row}"] = f"{strategy}, {stage}: {shown(float(value))} {unit}"
        left = left + medians[stage]
    name_rows(axes, list(medians.index))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{what} ({unit})")
    figure.legend(loc="outside upper left", ncols=4, fontsize=8)
    return figure, tips


@matplotlib.rc_context(STYLE)
def repeats(sweep: Sweep, strategies: Sequence[Strategy], look: Looks) -> Plot | None:
    """Every timed run of every strategy, as a share of its job's median: how much latency scatters."""
    names = list(dict.fromkeys(s.name for s in strategies))
    shares = {name: _shares(sweep, name) for name in names}
    if not any(shares.values()):
        return None
    figure, (axes,) = draw(7.2, 1.0 + 0.34 * len(names))
    for row, name in enumerate(names):
        values = shares[name][:: -(-len(shares[name]) // POINTS_AT_MOST) or 1]
        places = [row + 0.22 * ((i * 0.618) % 1 - 0.5) * 2 for i in range(len(values))]
        axes.plot(
            values,
            places,
            ls="",
            marker="o",
            ms=3.5,
            alpha=0.55,
            color=look[name]["color"],
            gid=f"repeats-{row}",
        )
    axes.axvline(1, color=FAINT, alpha=0.5, lw=1)
    name_rows(axes, names)
    axes.set_xlabel("total_s of a repeat ÷ its job's median")
    caption = "Every timed repeat; none is dropped."
    if max(map(len, shares.values())) > POINTS_AT_MOST:
        caption = f"At most {POINTS_AT_MOST} repeats a strategy."
    of = {f"repeats-{row}": {"memory": name} for row, name in enumerate(names)}
    return Plot("repeats", "Scatter of the repeats", caption, figure, of=of)


def _shares(sweep: Sweep, name: str) -> list[float]:
    """The timed runs of a strategy over the median of their job; nothing of a job that ran once."""
    jobs = [sweep.repeats.get(key, []) for key in sweep.ok.loc[sweep.ok["memory"] == name, "key"]]
    medians = [(runs, statistics.median(runs)) for runs in jobs if len(runs) > 1]
    return [run / median for runs, median in medians if median > 0 for run in runs]
