"""The report's plots, by matplotlib: every one that the rows can fill, SVG on the page and PNG in Markdown."""

from collections.abc import Sequence

from svdsweep.analysis.responses import swept
from svdsweep.analysis.strategies import Strategy
from svdsweep.analysis.sweep import Sweep
from svdsweep.metrics import CATALOGUE, Column, catalogue, headlines
from svdsweep.report.calls_plot import drift_by_calls
from svdsweep.report.drawing import Plot, looks
from svdsweep.report.setting_plots import heatmaps, responses
from svdsweep.report.strategy_plots import job_times, pareto, repeats, stage_memory, stage_times

VALUES_AT_MOST = 30
"""A setting with more values is no axis: seeds, for one."""
AXES_AT_MOST = 4
ALONG = {"decode_chunk_size": [CATALOGUE["vae_decode_s"]]}
"""What is drawn along a setting beside the metrics."""


def draw_all(sweep: Sweep, strategies: Sequence[Strategy]) -> list[Plot]:
    """Every plot that the rows can fill."""
    if not len(sweep.ok):
        return []
    look = looks(list(dict.fromkeys(s.name for s in strategies)))
    axes = [a for a in swept(sweep.ok) if sweep.ok[a].nunique() <= VALUES_AT_MOST]
    metrics = headline_metrics(sweep) or [CATALOGUE["total_s"]]
    drawn = [
        pareto(sweep, strategies, look),
        drift_by_calls(sweep),
        stage_times(sweep, strategies),
        job_times(sweep, strategies),
        stage_memory(sweep, strategies),
        *(responses(sweep, a, [*metrics, *ALONG.get(a, [])], look) for a in axes[:AXES_AT_MOST]),
        heatmaps(sweep, axes[0], axes[1], metrics) if len(axes) > 1 else None,
        repeats(sweep, strategies, look),
    ]
    return [plot for plot in drawn if plot is not None]


def headline_metrics(sweep: Sweep) -> list[Column]:
    """The metrics drawn along what was swept: consistency, motion and likeness; never one without the others."""
    columns = catalogue({family for job in sweep.jobs.values() for family in job.metrics.families})
    return [columns[name] for name in headlines(map(str, sweep.table), 3, columns)]
