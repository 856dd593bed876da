"""What seeds and images say together: mean, spread and interval of each metric in each cell of the grid, and
differences between two settings over the same image and seed. Metrics are never merged into one score."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from svdsweep.analysis.pairs import SIGNIFICANT, direction, holm
from svdsweep.analysis.table import DRAWS, SETTINGS, decided_by, varying
from svdsweep.errors import UserError, nearest
from svdsweep.metrics import COLUMNS
from svdsweep.probes.statistics import t_quantile

RESAMPLES = 10_000
BOOTSTRAP_FROM, INTERVAL_FROM = 10, 3

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Spread:
    """How one metric lies over `n` values; the 95 % interval is that of the mean, None below 3 values."""

    n: int
    images: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    interval: str
    minimum: float
    maximum: float


def over_seeds(results: pd.DataFrame, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """A line for each cell of the grid and metric, over the seeds and images of its finished jobs.

    `results` is a sweep's table; cells are told apart by the settings that vary. Columns: those settings,
    `metric`, and the fields of `Spread`; True and False count as 1 and 0."""
    rows = results[results["status"] == "ok"]
    by = [name for name in varying(rows) if name not in DRAWS]
    lines = []
    cells = rows.groupby(by, dropna=False, sort=False) if by else [((), rows)]
    for cell, members in cells:
        for metric in _metrics(rows, metrics):
            measured = members[members[metric].notna()]
            if len(measured):
                spread = summarize(measured[metric].astype(float).to_numpy(), list(measured["image"]))
                lines.append({**dict(zip(by, cell, strict=True)), "metric": metric, **asdict(spread)})
    return pd.DataFrame(lines, columns=[*by, "metric", *Spread.__dataclass_fields__])


def summarize(values: Array, images: Sequence[Hashable]) -> Spread:
    """Mean and spread of values, each with its image. The interval is Student's t below 10 values, and from there a
    bootstrap that draws images first and then the values of each (10 000 times, always the same draws)."""
    n = len(values)
    mean, std = float(values.mean()), float(values.std(ddof=1)) if n > 1 else None
    low = high = None
    interval = f"none below {INTERVAL_FROM} values"
    if n >= BOOTSTRAP_FROM:
        low, high = (float(bound) for bound in np.percentile(_bootstrap_means(values, images), [2.5, 97.5]))
        interval = "95 %, bootstrap over images and seeds"
    elif std is not None and n >= INTERVAL_FROM:
        half = t_quantile(n - 1) * std / math.sqrt(n)
        low, high = mean - half, mean + half
        interval = "95 %, Student's t"
    extremes = float(values.min()), float(values.max())
    return Spread(n, len(set(images)), mean, std, low, high, interval, *extremes)


def paired_differences(
    results: pd.DataFrame, setting: str, first: Any, second: Any, metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    """What `setting=second` changes against `setting=first`, metric by metric, over jobs equal in all else.

    Columns: `metric`, the fields of `Spread` of the differences (second less first), `p` of Wilcoxon's signed-rank
    test, `p_holm` corrected for the number of metrics (those equal in every pair are no test), `smallest_p` that so
    many pairs can reach, and `verdict`. Settings that `setting` decides (a strategy's knobs) may differ; image and seed
    never. Raises UserError without pairs."""
    rows = results[results["status"] == "ok"]
    if setting not in rows:
        raise UserError(f"{setting} is no column of this sweep.{nearest(setting, SETTINGS)}")
    sides = [rows[rows[setting] == value] for value in (first, second)]
    both = pd.concat(sides)
    keys = [name for name in varying(both) if name != setting and not decided_by(both, setting, name)]
    names = _metrics(both, metrics)
    a, b = (_by_keys(side, keys) for side in sides)
    common = a.index.intersection(b.index)
    if common.empty:
        sought = f"{setting}={first} and {setting}={second}"
        raise UserError(f"There is no pair of finished jobs with {sought} that are equal in all else.")
    a, b = a.loc[common], b.loc[common]
    lines = []
    for metric in names:
        difference = b[metric].astype(float) - a[metric].astype(float)
        if len(measured := difference.dropna()):
            values = measured.to_numpy()
            spread = summarize(values, list(a.loc[measured.index, "image"]))
            lines.append({"metric": metric, **asdict(spread), "p": signed_rank_p(values)})
    _judge(lines)
    return pd.DataFrame(lines)


def _judge(lines: Sequence[dict[str, Any]]) -> None:
    """Add p values corrected for the number of tests, and verdicts."""
    tested = [line for line in lines if not line["minimum"] == line["maximum"] == 0]
    for line in lines:
        line.update(p_holm=1.0, smallest_p=smallest_p(line["n"]), verdict="equal in every pair")
    for line, p_holm in zip(tested, holm([line["p"] for line in tested]), strict=True):
        line["p_holm"] = p_holm
        line["verdict"] = _verdict(line, len(tested))


def smallest_p(pairs: int) -> float:
    """The least two-sided p that a signed-rank test of so many pairs can give: 0.0625 of 5, 0.0078 of 8."""
    return float(min(1.0, 2.0 ** (1 - pairs)))


def signed_rank_p(differences: Array) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact also with ties: the chance of each sum of ranks when every
    sign is as likely as the other. Equal pairs count for neither side, and it is 1 when all are equal."""
    from scipy.stats import rankdata

    moved = differences[differences != 0]
    ranks = (2 * rankdata(np.abs(moved))).astype(int)  # doubled: those of ties are halves
    chances = np.zeros(ranks.sum() + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] += chances[:-rank]
        chances /= 2
    reached = ranks[moved > 0].sum()
    return float(min(1.0, 2 * min(chances[: reached + 1].sum(), chances[reached:].sum())))


def _verdict(line: dict[str, Any], family: int) -> str:
    """What may be said: a direction only where the corrected p and the interval agree."""
    if line["smallest_p"] * family > SIGNIFICANT:
        return f"{line['n']} pairs are too few to show anything over {family} metrics"
    low, high = line["low"], line["high"]
    if line["p_holm"] >= SIGNIFICANT or low <= 0 <= high:
        return "no difference shown"
    way = direction(line["mean"], None)
    better = COLUMNS[line["metric"]].better if line["metric"] in COLUMNS else None
    return way if better is None else f"{way} ({direction(line['mean'], better)})"


def _metrics(rows: pd.DataFrame, asked: Sequence[str] | None) -> list[str]:
    for name in asked or ():
        if name not in rows:
            raise UserError(f"{name} is no column of this sweep.{nearest(name, map(str, rows.columns))}")
    numbers = [n for n in COLUMNS if n in rows and is_numeric_dtype(rows[n].dropna().infer_objects())]
    return list(asked) if asked else numbers


def _by_keys(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows by the values of `keys` as one text. Raises UserError when two have the same."""
    names = ["|".join(map(str, values)) for values in rows[keys].to_numpy()]
    if len(set(names)) < len(names):
        raise UserError(
            "Several jobs of one setting are equal in all else: give the results of one sweep at a time."
        )
    return rows.set_index(pd.Index(names))


def _bootstrap_means(values: Array, images: Sequence[Hashable]) -> Array:
    rng = np.random.default_rng(0)
    groups = [values[[i == image for i in images]] for image in dict.fromkeys(images)]
    if len(groups) == 1:
        return np.asarray(values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1))
    means = np.empty(RESAMPLES)
    for k in range(RESAMPLES):
        drawn = [groups[g] for g in rng.integers(0, len(groups), len(groups))]
        means[k] = np.concatenate([g[rng.integers(0, len(g), len(g))] for g in drawn]).mean()
    return means
