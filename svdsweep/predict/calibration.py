"""Prediction against measurement: a table of ratios, and the one constant of a GPU that follows from it."""

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.media import renamed_when_done
from svdsweep.predict import cache
from svdsweep.predict.summary import STAGES, Summary
from svdsweep.store import Row

if TYPE_CHECKING:
    import pandas as pd

FILE = "calibration.json"
GUESSED_CONTEXT_GIB = 0.5
"""Where the driver does not tell a process's use of the device."""
COLUMNS = ("key", "gpu", "memory", "decode_chunk_size", "stage", "predicted_gib", "measured_gib", "ratio")
NEAR_THE_WORST = 0.9
"""The constant covers this share of the measured rows."""


@dataclass(frozen=True)
class Calibration:
    """What a GPU takes beyond predicted live tensors, fitted to the rows of one sweep."""

    gpu: str
    constant_gib: float
    """`workspace_gib` + `context_gib`: what is added to a predicted peak."""
    workspace_gib: float
    """Measured minus predicted allocated peak, covered for nine rows of ten."""
    context_gib: float
    """Use of the process beyond what PyTorch reserved; the median of the rows."""
    context_measured: bool
    rows: int


def calibrate(rows: Iterable[Row], where: Path | None = None) -> dict[str, Calibration]:
    """One calibration for each GPU of the rows that ran well on one and are predicted (in the cache), by its name."""
    excess: dict[str, list[float]] = {}
    context: dict[str, list[float]] = {}
    for row in rows:
        gpu, measured = row.provenance.get("gpu"), _number(row, "vram_allocated_peak_gib")
        summary = _predicted(row, where)
        if row.status != "ok" or not isinstance(gpu, str) or measured is None or summary is None:
            continue
        excess.setdefault(gpu, []).append(measured - summary.peak_gib)
        process, reserved = _number(row, "vram_process_peak_gib"), _number(row, "vram_reserved_peak_gib")
        if process is not None and reserved is not None and process > reserved:
            context.setdefault(gpu, []).append(process - reserved)
    found = {}
    for gpu, values in excess.items():
        workspace = max(0.0, _quantile(values, NEAR_THE_WORST))
        contexts = context.get(gpu)
        context_gib = statistics.median(contexts) if contexts else GUESSED_CONTEXT_GIB
        found[gpu] = Calibration(
            gpu, workspace + context_gib, workspace, context_gib, bool(contexts), len(values)
        )
    return found


def write(folder: Path, calibrations: dict[str, Calibration]) -> None:
    """`calibration.json` beside a sweep's rows; nothing is written where nothing was found."""
    if not calibrations:
        return
    plain = {gpu: asdict(calibration) for gpu, calibration in sorted(calibrations.items())}
    with renamed_when_done(folder / FILE) as part:
        part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def constant_of(folder: Path, gpu: str) -> float | None:
    """The constant (GiB) that a sweep's folder holds for a GPU, else None."""
    try:
        plain = json.loads((folder / FILE).read_text())
        return float(plain[gpu]["constant_gib"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def against_measured(rows: Iterable[Row], where: Path | None = None) -> "pd.DataFrame":
    """One line a row and stage (and `run`, the whole): key, gpu, memory, decode_chunk_size, stage, predicted_gib,
    measured_gib (allocated peaks) and their ratio measured / predicted. Rows without both are left out."""
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for row in rows:
        summary = _predicted(row, where)
        if row.status != "ok" or summary is None:
            continue
        for stage in (*STAGES, "run"):
            whole = stage == "run"
            measured = _number(
                row, "vram_allocated_peak_gib" if whole else f"{stage}_vram_allocated_peak_gib"
            )
            predicted = summary.peak_gib if whole else summary.stages[stage].peak_gib
            if measured is not None and predicted > 0:
                lines.append(
                    {
                        "key": row.key,
                        "gpu": row.provenance.get("gpu"),
                        "memory": row.job.memory.name,
                        "decode_chunk_size": cache.chunk_of(row.job),
                        "stage": stage,
                        "predicted_gib": predicted,
                        "measured_gib": measured,
                        "ratio": measured / predicted,
                    }
                )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def ratios(rows: Iterable[Row], where: Path | None = None) -> "pd.DataFrame":
    """Median ratio measured / predicted, a line for each GPU and strategy, a column for each stage and `run`; empty
    cells where nothing was measured."""
    long = against_measured(rows, where)
    wide = long.pivot_table(index=["gpu", "memory"], columns="stage", values="ratio", aggfunc="median")
    return wide.reindex(columns=[s for s in (*STAGES, "run") if s in wide.columns]).reset_index()


def _predicted(row: Row, where: Path | None) -> Summary | None:
    return None if row.job.decode_chunk_size == "auto" else cache.known(row.job, where)


def _number(row: Row, name: str) -> float | None:
    value = row.values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _quantile(values: list[float], share: float) -> float:
    """The smallest value that is at least as large as `share` of them."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
