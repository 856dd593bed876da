"""The section "Pick": the finalists beside one another, the road of every candidate, and what the choice rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

from svdsweep.analysis.sweep import Sweep
from svdsweep.report.drawing import COLOURS, FAINT, MARKERS, STYLE, Plot, draw, literal
from svdsweep.report.words import shown, text
from svdsweep.store.pick import FILE, Pick, Stage, read_pick
from svdsweep.terminal import on_one_line

ROADS_AT_MOST = 300
"""Lines of the table and of the plot; all are in pick.json."""
FINALISTS_AT_MOST = 24
"""Videos beside one another."""
COLOURED = 7
"""Finalists with a colour of their own."""


@dataclass(frozen=True)
class PickSection:
    """What the section shows. Strings are text, to be escaped by the template."""

    pick: Pick
    finalists: list[dict[str, str]]
    """`name`, `key`, `video` (empty where there is none) and `value`, the best first."""
    lines: list[list[str]]
    """Of the table: a candidate's name, its value at each stage, its fate."""
    header: list[str]
    plot: Plot | None
    said: list[str]


def section_of(sweep: Sweep) -> tuple[PickSection | None, list[str]]:
    """The section of a sweep that a pick made, None without; and what is wrong with its file."""
    try:
        pick = read_pick(sweep.folder)
    except ValueError as e:
        return None, [f"{FILE} cannot be read ({e}): the pick is not shown"]
    return (_section(sweep, pick) if pick else None), []


def cells(section: PickSection) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the finalists as text, for Markdown."""
    lines = [[f["name"], f["key"], f["value"], f["video"] or "–"] for f in section.finalists]
    return ["finalist", "job", section.pick.by, "video"], lines


def _section(sweep: Sweep, pick: Pick) -> PickSection:
    order = _order(pick)[:ROADS_AT_MOST]
    lines = [[pick.roads[i].name, *map(shown, pick.roads[i].values), _fate(pick, i)] for i in order]
    counts = {
        "finalists": len(pick.finalists) - FINALISTS_AT_MOST,
        "candidates": len(pick.roads) - ROADS_AT_MOST,
    }
    said = [f"{more} more {what} are in {FILE}" for what, more in counts.items() if more > 0]
    header = ["", *(_stage_words(stage) for stage in pick.stages), ""]
    plot = draw_roads(pick, order)
    return PickSection(pick, _finalists(sweep, pick), lines, header, plot, said)


def _stage_words(stage: Stage) -> str:
    return f"{stage.steps} steps"


def _fate(pick: Pick, i: int) -> str:
    return f"finalist {pick.finalists.index(i) + 1}" if i in pick.finalists else pick.roads[i].fate


def _finalists(sweep: Sweep, pick: Pick) -> list[dict[str, str]]:
    videos = (
        dict(zip(sweep.table["key"], sweep.table["video"], strict=True)) if "video" in sweep.table else {}
    )
    finalists = []
    for i in pick.finalists[:FINALISTS_AT_MOST]:
        road = pick.roads[i]
        key, value = road.keys[-1] or "", f"{shown(road.values[-1])} {pick.unit}"
        finalists.append({"name": road.name, "key": key, "video": text(videos.get(key)), "value": value})
    return finalists


def _order(pick: Pick) -> list[int]:
    """The finalists, then the others: who came further first, of those the better."""
    places = {i: place for place, i in enumerate(pick.finalists)}

    def place(i: int) -> tuple[Any, ...]:
        values = pick.roads[i].values
        reached = max((s for s, value in enumerate(values) if value is not None), default=-1)
        last = values[reached] if reached >= 0 else None
        return places.get(i, len(places)), -reached, (-(last or 0.0) if pick.higher else (last or 0.0)), i

    return sorted(range(len(pick.roads)), key=place)


@matplotlib.rc_context(STYLE)
def draw_roads(pick: Pick, order: Sequence[int]) -> Plot | None:
    """Each candidate's value against the UNet calls of a run, the finalists in colour; None where nothing was run."""
    if not any(value is not None for road in pick.roads for value in road.values):
        return None
    figure, (axes,) = draw(7.2, 4.0)
    tips: dict[str, str] = {}
    for i in reversed(order):
        tips |= _road(axes, pick, i)
    for stage in pick.stages:
        axes.axvline(stage.calls, color=FAINT, alpha=0.25, lw=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set_xticks(
        [stage.calls for stage in pick.stages], [f"{s.calls}\n{s.runs} runs" for s in pick.stages]
    )
    axes.minorticks_off()
    axes.set_xlabel("UNet calls of one run")
    axes.set_ylabel(literal(f"{pick.by} ({pick.unit})" if pick.unit else pick.by))
    if pick.finalists:
        handles, labels = axes.get_legend_handles_labels()  # the best was drawn last, above the others
        figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=4, fontsize=8)
    end = "high" if pick.higher else "low"
    caption = (
        f"A line is a candidate: it ends where that was left out. Better is {end}; finalists are in colour."
    )
    return Plot("pick_roads", "The road of every candidate", caption, figure, tips)


def _road(axes: Any, pick: Pick, i: int) -> Mapping[str, str]:
    """Draw a candidate's road; returns the tooltips of its marks."""
    road = pick.roads[i]
    at = [(s.calls, v, s.steps) for s, v in zip(pick.stages, road.values, strict=True) if v is not None]
    place = pick.finalists.index(i) if i in pick.finalists else None
    coloured = place is not None and place < COLOURED
    look: dict[str, Any] = {"color": FAINT, "alpha": 0.35, "lw": 0.8, "zorder": 1}
    if coloured and place is not None:
        look = {"color": COLOURS[place], "lw": 1.8, "zorder": 3, "label": literal(road.name)}
    axes.plot([calls for calls, _, _ in at], [value for _, value, _ in at], **look)
    look |= {"ls": "", "ms": 6 if coloured else 3, "marker": MARKERS[place or 0] if coloured else "o"}
    look.pop("label", None)
    tips = {}
    for k, (calls, value, steps) in enumerate(at):
        gid = f"pick-{i}-{k}"
        axes.plot([calls], [value], gid=gid, **look)
        told = f"{road.name}, {steps} steps: {pick.by} {shown(value)} {pick.unit}; {_fate(pick, i)}"
        tips[gid] = on_one_line(told)
    return tips
