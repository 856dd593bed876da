"""Drift against calls of the UNet: approximations beside one another where they cost the same."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.ticker import MaxNLocator

from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import numeric
from svdsweep.metrics import CATALOGUE
from svdsweep.report.drawing import STYLE, Plot, draw, literal, looks
from svdsweep.report.words import shown

CALLS, DRIFT = "unet_calls", "psnr_to_baseline_db"
ROADS = {
    "memory.deepcache_interval": "DeepCache (whole calls)",
    "memory.step_cache": "step cache",
    "memory.sigmas": "Align Your Steps",
    "memory.denoise_steps": "fewer steps",
}
"""The knobs that spare calls, and the road on which they do, the more telling one first."""
PLAIN = (None, "none", "model")
PUBLISHED, LISTED = ("memory.sigmas", "ays"), "noise levels of one's own"


@matplotlib.rc_context(STYLE)
def drift_by_calls(sweep: Sweep) -> Plot | None:
    """PSNR to the baseline's frames against calls of the UNet, a line a road; None where no two numbers of calls can be
    compared. Jobs without guidance, which is another picture at as many calls, are left out."""
    jobs = roads(sweep.ok)
    if jobs["calls"].nunique() < 2:
        return None
    figure, (axes,) = draw(7.2, 3.8)
    names = sorted(jobs["road"].unique(), key=lambda road: jobs.loc[jobs["road"] == road, "calls"].mean())
    look, tips = looks(names), {}
    for i, road in enumerate(names):
        by_calls = jobs[jobs["road"] == road].groupby("calls")["drift"]
        mean, low, high = by_calls.mean(), by_calls.min(), by_calls.max()
        axes.plot(mean.index, mean, lw=1.4, ms=5, label=literal(road), **look[road])
        axes.vlines(mean.index, low, high, color=look[road]["color"], alpha=0.45, lw=1.2)
        for n, value in mean.items():
            gid = f"calls-{i}-{n}"
            axes.plot([n], [value], ls="", ms=7, gid=gid, **look[road])
            tips[gid] = f"{road}: {n} calls, PSNR to baseline {shown(float(value))} dB"
    axes.set_xlabel("calls of the UNet in one video")
    axes.set_ylabel(f"PSNR to the baseline's frames ({CATALOGUE[DRIFT].unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper left", ncols=4, fontsize=8)
    caption = (
        "Of roads with equal calls the highest drifts least from the baseline, which is not to say that it looks best. "
        "Marks are means over pictures and seeds, bars reach from the least to the greatest."
    )
    return Plot("drift_by_calls", "Drift against calls of the UNet", caption, figure, tips)


def roads(rows: pd.DataFrame) -> pd.DataFrame:
    """The jobs that spare calls: `calls`, `drift` (dB) and the `road`, by the knobs that they turn."""
    columns: dict[str, list[Any]] = {"calls": [], "drift": [], "road": []}
    if not {CALLS, DRIFT} <= set(rows):
        return pd.DataFrame(columns)
    guided = rows[rows["memory.guidance"].astype(bool)] if "memory.guidance" in rows else rows
    turned = guided.assign(calls=numeric(guided[CALLS]), drift=numeric(guided[DRIFT])).dropna(
        subset=["calls", "drift"]
    )
    for line in turned.to_dict("records"):
        if road := _road(line):
            columns["calls"].append(int(line["calls"]))
            columns["drift"].append(line["drift"])
            columns["road"].append(road)
    return pd.DataFrame(columns)


def _road(line: Mapping[Any, Any]) -> str | None:
    """By which road a job spares calls; None where it spares none."""
    turned = {knob: line.get(knob) for knob in ROADS if not pd.isna(line.get(knob))}
    taken = [
        LISTED if knob == PUBLISHED[0] and value != PUBLISHED[1] else ROADS[knob]
        for knob, value in turned.items()
        if value not in PLAIN
    ]
    many = [road for road in taken if road != ROADS["memory.denoise_steps"]]
    return " + ".join(many or taken) or None
