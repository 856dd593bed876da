"""Predicted peaks of VRAM against a sweep's measured ones: ratios by strategy and stage, and each GPU's constant."""

from dataclasses import dataclass, field
from statistics import median

import pandas as pd

from svdsweep.analysis.sweep import Sweep
from svdsweep.config import Job
from svdsweep.predict import calibration
from svdsweep.predict.calibration import WHOLE, Calibration
from svdsweep.store.columns import STAGES
from svdsweep.store.rows import Row

PLACES = (*STAGES, WHOLE)
LEAST_GIB = 0.25
"""A stage that is predicted to hold less is not told apart from workspaces that libraries keep (cuBLAS 0.03 GiB)."""
MEASURED = (
    *("vram_allocated_peak_gib", "vram_reserved_peak_gib", "vram_process_peak_gib"),
    *(f"{stage}_vram_allocated_peak_gib" for stage in STAGES),
)


@dataclass(frozen=True)
class Ratio:
    """Measured ÷ predicted over some rows: the median and the range."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Compared:
    """One strategy on one GPU; GiB are the medians of whole runs."""

    gpu: str
    memory: str
    rows: int
    predicted_gib: float
    measured_gib: float
    ratios: dict[str, Ratio]
    """The ratios by stage, and of the whole `run`; a stage that was not measured is not there."""
    notes: list[str]
    """Where the prediction stands for something else than what ran."""


@dataclass(frozen=True)
class Comparison:
    """A sweep's rows against their predictions."""

    lines: list[Compared]
    table: pd.DataFrame
    """One line a row and stage, as `predict.calibration.against_measured` has it."""
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    measured: int = 0
    """Jobs whose VRAM was counted."""
    unpredicted: list[Job] = field(default_factory=list)
    """Those among them without a prediction in the cache, one of each strategy and size."""


def measured_rows(sweep: Sweep) -> list[Row]:
    """The rows of a sweep that ended well on a GPU that counted its memory, with these peaks alone."""
    if "gpu" not in sweep.ok or "vram_allocated_peak_gib" not in sweep.ok:
        return []
    there = [name for name in MEASURED if name in sweep.ok]
    table = sweep.ok[["key", "gpu", *there]].dropna(subset=["gpu", "vram_allocated_peak_gib"])
    rows = []
    for line in table.to_dict("records"):
        peaks = {name: line[name] for name in there if pd.notna(line[name])}
        rows.append(Row(sweep.jobs[line["key"]], "ok", values=peaks, provenance={"gpu": line["gpu"]}))
    return calibration.measured(rows)


def comparison(sweep: Sweep) -> Comparison:
    """What the cache of predictions can say to a sweep; nothing is simulated."""
    rows = measured_rows(sweep)
    pairs, unpredicted = calibration.predicted(rows)
    unpredicted = [job for job in unpredicted if not job.memory.extra]  # from rows, nothing is imported
    notes = {row.job.memory.name: summary.notes for row, summary in pairs}
    table = calibration.against_measured(pairs)
    lines = [_compared(part, notes) for _, part in table.groupby(["gpu", "memory"], sort=False)]
    return Comparison(lines, table, calibration.calibrate(pairs), len(rows), unpredicted)


def _compared(part: pd.DataFrame, notes: dict[str, list[str]]) -> Compared:
    gpu, memory = (str(part[name].iloc[0]) for name in ("gpu", "memory"))
    whole = part[part["stage"] == WHOLE]
    predicted_gib, measured_gib = (float(whole[name].median()) for name in ("predicted_gib", "measured_gib"))
    told = part[(part["predicted_gib"] >= LEAST_GIB) | (part["stage"] == WHOLE)]
    by_stage = {stage: told.loc[told["stage"] == stage, "ratio"].astype(float).tolist() for stage in PLACES}
    ratios = {s: Ratio(median(r), min(r), max(r), len(r)) for s, r in by_stage.items() if len(r)}
    return Compared(gpu, memory, len(whole), predicted_gib, measured_gib, ratios, notes[memory])
