"""Predicted peaks of VRAM against a sweep's measured ones: ratios by strategy and stage, and each GPU's constant."""

from dataclasses import dataclass, field

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
    rows = (
        Row(
            sweep.jobs[line["key"]],
            "ok",
            values={name: line[name] for name in there if pd.notna(line[name])},
            provenance={"gpu": line["gpu"]},
        )
        for line in table.to_dict("records")
    )
    return calibration.measured(rows)


def comparison(sweep: Sweep) -> Comparison:
    """What the cache of predictions can say to a sweep; nothing is simulated."""
    rows = measured_rows(sweep)
    pairs, unpredicted = calibration.predicted(rows)
    notes = {row.job.memory.name: summary.notes for row, summary in pairs}
    table = calibration.against_measured(pairs)
    return Comparison(
        [_compared(part, notes) for _, part in table.groupby(["gpu", "memory"], sort=False)],
        table,
        calibration.calibrate(pairs),
        len(rows),
        unpredicted,
    )


def _compared(part: pd.DataFrame, notes: dict[str, list[str]]) -> Compared:
    whole = part[part["stage"] == WHOLE]
    memory = str(part["memory"].iloc[0])
    told = part[(part["predicted_gib"] >= LEAST_GIB) | (part["stage"] == WHOLE)]
    ratios = {
        str(stage): Ratio(float(values.median()), float(values.min()), float(values.max()), len(values))
        for stage, values in told.groupby("stage")["ratio"]
    }
    return Compared(
        str(part["gpu"].iloc[0]),
        memory,
        len(whole),
        float(whole["predicted_gib"].median()),
        float(whole["measured_gib"].median()),
        {stage: ratios[stage] for stage in PLACES if stage in ratios},
        notes[memory],
    )
