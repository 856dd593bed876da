"""From the raw seconds of a job's repeats to the columns of its row. No torch: the driver joins rounds with it."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from svdsweep.config import Measure
from svdsweep.probes.statistics import Summary, drift, median_interval, summarize
from svdsweep.store.columns import STAGES
from svdsweep.store.measurements import Measurements

ROUND = "round"
"""The series that tells the round of each repeat; absent where there was only one."""
NOISY = 0.10
"""A range above this share of the median gets a note."""


def time_columns(
    series: Mapping[str, Sequence[Any]], num_frames: int, first_look: int | None = None
) -> Measurements:
    """Medians of the whole, the stages and the steps, frames a second, and intervals of the whole (`first_look` as in
    `summarize`).

    `series`: seconds of each repeat under `total_s` and `<stage>_s`, those of its steps as lists under `step_s`, and
    the repeats' rounds. `total_s_low` and `_high` enclose the geometric mean, from 3 repeats, or from 3 rounds those
    of the rounds' means; `total_s_median_*` the median, from 6 repeats of one round."""
    totals = list(series["total_s"])
    whole, between = summarize(totals), _interval(totals, series.get(ROUND), first_look)
    low, high = (None if ROUND in series else median_interval(totals)) or (None, None)
    columns = Measurements(
        values={
            "total_s": whole.median,
            "total_s_low": between.low,
            "total_s_high": between.high,
            "total_s_median_low": low,
            "total_s_median_high": high,
            "total_s_min": whole.minimum,
            "total_s_max": whole.maximum,
            "total_s_geometric_mean": whole.geometric_mean,
            "frames_per_s": num_frames / whole.median,
            "repeats": len(totals),
        },
        notes=_doubts(totals, whole),
    )
    for stage in STAGES:
        if seconds := series.get(f"{stage}_s"):
            columns.values[f"{stage}_s"] = statistics.median(seconds)
    if steps := series.get("step_s"):
        columns.values["step_s"] = statistics.median(s for run in steps for s in run)
    return columns


def wants_more(seconds: Sequence[float], how: Measure) -> bool:
    """Whether a job that took so long in each timed run is to be run once more: `how.repeats` times, then until its
    interval is narrow enough."""
    if len(seconds) < how.repeats or how.within is None:
        return len(seconds) < how.repeats
    half_width = summarize(seconds, how.first_look).half_width
    return len(seconds) < how.repeats_limit and (half_width is None or half_width > how.within)


def _doubts(totals: Sequence[float], whole: Summary) -> list[str]:
    """Notes on repeats that differ more than they should."""
    notes = []
    if whole.outliers:
        numbers = ", ".join(str(i + 1) for i in whole.outliers)
        notes.append(f"outliers among the repeats of total_s, kept: number {numbers}")
    if whole.maximum - whole.minimum > NOISY * whole.median:
        notes.append(f"total_s varies by more than {NOISY:.0%} over the repeats")
    if (rho := drift(totals)) is not None and rho > 0.5:
        notes.append(f"total_s rises over the repeats (rank correlation {rho:.2f})")
    return notes


def _interval(totals: Sequence[float], rounds: Sequence[int] | None, first_look: int | None) -> Summary:
    """The summary of the repeats; from three rounds on that of the rounds' geometric means, for the repeats of a round
    share a state of the machine and are not independent (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time,
    2013)."""
    if rounds is None or len(set(rounds)) < 3:
        return summarize(totals, first_look)
    means = [
        math.exp(statistics.fmean(math.log(t) for t, r in zip(totals, rounds, strict=True) if r == number))
        for number in dict.fromkeys(rounds)
    ]
    return summarize(means)
