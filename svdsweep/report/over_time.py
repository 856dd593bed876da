"""The section "Memory over time" of a sweep's page, and the table of what peaks are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from svdsweep.analysis.sweep import Sweep
from svdsweep.config import Job
from svdsweep.predict import cache
from svdsweep.predict.prediction import KINDS, Prediction
from svdsweep.report.drawing import Plot
from svdsweep.report.memory_plot import PANELS_AT_MOST, Levels, Panel, highest, over_time, where_words
from svdsweep.store.columns import STAGES

HEADER = ("strategy", "peak_gib", *KINDS, "peak is", "at")
RIGHT = (False, *(True for _ in ("peak_gib", *KINDS)), False, False)
LARGEST_GIB = 1024.0
"""More than any card holds: a row that tells of more is not drawn."""


@dataclass(frozen=True)
class Section:
    """What the page shows: the plot, and the peaks by what they are made of."""

    plot: Plot
    lines: list[list[str]]
    header: tuple[str, ...] = HEADER
    right: tuple[bool, ...] = RIGHT


def cells(title: str, prediction: Prediction) -> list[str]:
    """A line of the table under `HEADER`: GiB at the peak of the run, and where it is."""
    stage, stretch = highest(prediction)
    parts = prediction.stages[stage].composition_gib
    where = where_words(stretch).removeprefix("at ")
    return [
        title,
        f"{prediction.peak_gib:.2f}",
        *(f"{parts[kind]:.2f}" for kind in KINDS),
        f"in {stage}",
        where,
    ]


def section_of(sweep: Sweep) -> Section | None:
    """The section of a sweep whose strategies were predicted on this machine; nothing is simulated, and from rows
    nothing is imported. None without."""
    predicted = [(job, cache.known(job)) for job in representatives(sweep)]
    panels = [
        Panel(job.memory.name, prediction, _measured(sweep, job))
        for job, prediction in predicted
        if prediction
    ]
    plot = over_time(panels, _card(sweep))
    if plot is None:
        return None
    told = [panel for panel in panels if panel.is_told][:PANELS_AT_MOST]
    return Section(plot, [cells(panel.title, panel.prediction) for panel in told])


def representatives(sweep: Sweep) -> list[Job]:
    """A job of each strategy, all of the workload that comes first, those with a measured curve before others; a
    strategy with functions of a user's own has none."""
    if sweep.table.empty:
        return []
    first = sweep.table[sweep.table["workload"] == sweep.table["workload"].iloc[0]]
    keys = sorted(map(str, first["key"]), key=lambda key: key not in sweep.over_time)
    jobs: dict[str, Job] = {}
    for job in (sweep.jobs[key] for key in keys):
        if not job.memory.extra:
            jobs.setdefault(job.memory.name, job)
    order = [name for name in map(str, first["memory"].unique()) if name in jobs]
    return [jobs[name] for name in order][:PANELS_AT_MOST]


def _measured(sweep: Sweep, job: Job) -> dict[str, list[Levels]]:
    """What the job's row tells; what is no curve of a card's size is left out."""
    series = sweep.over_time.get(job.key, {})
    return {
        stage: curves for stage in STAGES if (curves := [c for c in series.get(stage, []) if _is_curve(c)])
    }


def _is_curve(levels: Any) -> bool:
    return isinstance(levels, list) and all(gib is None or 0 <= gib <= LARGEST_GIB for gib in levels)


def _card(sweep: Sweep) -> tuple[str, float] | None:
    """The one card of a sweep, by name and GiB."""
    if not {"gpu", "gpu_memory_gib"} <= set(sweep.table):
        return None
    cards: Mapping[Any, Any] = dict(sweep.table[["gpu", "gpu_memory_gib"]].dropna().itertuples(index=False))
    ((name, gib),) = cards.items() if len(cards) == 1 else [("", 0.0)]
    return (str(name), float(gib)) if isinstance(gib, int | float) and 0 < gib <= LARGEST_GIB else None
