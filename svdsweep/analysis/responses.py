"""How metrics answer to what was swept: means over seeds with intervals, and whether they rise or fall."""

import math
import statistics

import pandas as pd

from svdsweep.analysis.pairs import NO_PAIR, Estimate, mean_difference
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import DRAWS, numeric, varying
from svdsweep.probes.statistics import t_quantile

AXES = (
    *("motion_bucket_id", "noise_aug_strength", "decode_chunk_size", "fps", "num_frames"),
    *("num_inference_steps", "min_guidance_scale", "max_guidance_scale", "height", "width"),
    *("model.scheduler", "model.final_sigma"),
)
"""Settings that can be swept over and drawn along."""
OF_WORDS = ("model.scheduler",)
"""Those of them whose values are names: they lie side by side, in the order of the jobs."""


def swept(table: pd.DataFrame) -> list[str]:
    """The settings of `AXES` that take several values in the table and are not told by the strategy's name already."""
    vary = varying(table)
    return [n for n in AXES if n in vary and table.groupby("memory")[n].nunique().max() > 1]


def apart(table: pd.DataFrame, axis: str) -> list[str]:
    """What else varies in a table than an axis and the draws that means are over."""
    return [name for name in varying(table) if name not in (axis, *DRAWS)]


def position(value: object, num_frames: int = 0) -> float:
    """Where a setting's value lies on an axis: `all` frames of a decode lie at the video's length."""
    return float(value) if isinstance(value, int | float) else float(num_frames)


def response(table: pd.DataFrame, axis: str, metric: str) -> pd.DataFrame:
    """Mean of a metric at each value of an axis, by strategy and whatever else varies: columns memory, others (such as
    `fps=7, model.dtype=float16`), value, at, mean, low, high, n. Each (image, seed) counts once; the interval is
    Student's t from 3 of them on, else empty."""
    others = [name for name in apart(table, axis) if name != "memory"]
    places = (
        {value: float(i) for i, value in enumerate(dict.fromkeys(table[axis]))} if axis in OF_WORDS else {}
    )
    data = table[["memory"]].assign(
        others=[
            ", ".join(f"{name}={value}" for name, value in zip(others, values, strict=True))
            for values in table[others].to_numpy(dtype=object)
        ],
        value=table[axis],
        at=[
            places[v] if places else position(v, n)
            for v, n in zip(table[axis], table["num_frames"], strict=True)
        ],
        case=table["image"].astype(str) + "/" + table["seed"].astype(str),
        y=numeric(table[metric]).astype(float),
    )
    lines = []
    measured = data.dropna(subset=["y"])
    for (memory, other, at), group in measured.groupby(["memory", "others", "at"], sort=False):
        cases = group.groupby("case")["y"].mean().tolist()
        mean, n = statistics.fmean(cases), len(cases)
        half = t_quantile(n - 1) * statistics.stdev(cases) / math.sqrt(n) if n >= 3 else math.nan
        lines.append((memory, other, group["value"].iloc[0], at, mean, mean - half, mean + half, n))
    columns = ["memory", "others", "value", "at", "mean", "low", "high", "n"]
    return pd.DataFrame(lines, columns=columns).sort_values(
        ["memory", "at"], kind="stable", ignore_index=True
    )


def rises(sweep: Sweep, axis: str, metric: str) -> Estimate:
    """Change of a metric from the lowest to the highest value of an axis, under the baseline strategy, all other
    settings equal: the mean over each (image, seed) with Student's t interval; verdict `higher` or `lower`."""
    table = sweep.ok
    if metric not in table or axis not in table:
        return NO_PAIR
    base = table["baseline_key"]
    table = table[base.isna() | (table["key"] == base)]  # one that no other needs names none
    at = table[axis].map(position)
    low, high = table[at == at.min()], table[at == at.max()]
    if at.nunique() < 2:
        return Estimate(None, None, None, 0, "not swept")
    others = [*DRAWS, "machine", *apart(table, axis)]
    both = low.merge(high, on=others, suffixes=("_low", "_high"))
    both["gap"] = numeric(both[f"{metric}_high"]) - numeric(both[f"{metric}_low"])
    cases = both.dropna(subset=["gap"]).groupby(["image", "seed"])["gap"].mean()
    return mean_difference(cases.tolist(), None)
