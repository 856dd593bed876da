"""Prediction against measurement: a table of ratios, and the one constant of a GPU that follows from it."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.config import Job
from svdsweep.predict import cache
from svdsweep.predict.gpus import same_gpu
from svdsweep.predict.prediction import Prediction
from svdsweep.store.columns import STAGES
from svdsweep.store.files import renamed_when_done
from svdsweep.store.rows import Row

if TYPE_CHECKING:
    import pandas as pd

FILE = "calibration.json"
WHOLE = "run"
GUESSED_CONTEXT_GIB = 0.5
"""Where the driver does not tell a process's use of the device."""
COLUMNS = ("key", "gpu", "memory", "decode_chunk_size", "stage", "predicted_gib", "measured_gib", "ratio")
NEAR_THE_WORST = 0.9
"""The constant covers this share of the measured rows."""

Pair = tuple[Row, Prediction]


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
    largest_gib: float
    """Of the predicted peaks of these rows: what larger ones take beside their tensors was not seen."""


def measured(rows: Iterable[Row]) -> list[Row]:
    """The rows that ended well on a GPU that counted its memory."""
    return [
        row
        for row in rows
        if row.status == "ok"
        and isinstance(row.provenance.get("gpu"), str)
        and _number(row, "vram_allocated_peak_gib") is not None
    ]


def predictable(job: Job) -> bool:
    """Whether a measured peak has a prediction to be held against: how `auto` decodes, only the worker knows."""
    return job.decode_chunk_size != "auto"


def settings(job: Job) -> tuple[Any, ...]:
    """Equal for jobs that are predicted alike, as long as these jobs live; the rows of a sweep share their parts."""
    sizes = job.num_frames, job.height, job.width, job.num_inference_steps, job.frames_per_decode
    return id(job.model), id(job.memory), *sizes, job.max_guidance_scale > 1


def predicted(rows: Sequence[Row], where: Path | None = None) -> list[Pair]:
    """Those rows whose prediction is in the cache, with it."""
    seen: dict[tuple[Any, ...], Prediction | None] = {}
    pairs = []
    for row in rows:
        if not predictable(row.job):
            continue
        if (at := settings(row.job)) not in seen:
            seen[at] = cache.known(row.job, where)
        if summary := seen[at]:
            pairs.append((row, summary))
    return pairs


def calibrate(pairs: Iterable[Pair]) -> dict[str, Calibration]:
    """One calibration for each GPU of measured and predicted rows, by its name. What is predicted as something else
    (a compiled run as the eager one) does not count: its difference is no constant of the GPU."""
    excess: dict[str, list[float]] = {}
    largest: dict[str, float] = {}
    context: dict[str, list[float]] = {}
    for row, summary in pairs:
        gpu, allocated = str(row.provenance["gpu"]), _number(row, "vram_allocated_peak_gib")
        if summary.notes or allocated is None:
            continue
        excess.setdefault(gpu, []).append(allocated - summary.peak_gib)
        largest[gpu] = max(largest.get(gpu, 0.0), summary.peak_gib)
        process, reserved = _number(row, "vram_process_peak_gib"), _number(row, "vram_reserved_peak_gib")
        if process is not None and reserved is not None and process > reserved:
            context.setdefault(gpu, []).append(process - reserved)
    found = {}
    for gpu, values in excess.items():
        workspace = max(0.0, _quantile(values, NEAR_THE_WORST))
        contexts = context.get(gpu)
        context_gib = statistics.median(contexts) if contexts else GUESSED_CONTEXT_GIB
        found[gpu] = Calibration(
            gpu,
            workspace + context_gib,
            workspace,
            context_gib,
            bool(contexts),
            len(values),
            largest[gpu],
        )
    return found


def write(folder: Path, calibrations: dict[str, Calibration]) -> None:
    """`calibration.json` beside a sweep's rows; GPUs that it holds already and that were not fitted anew stay."""
    if not calibrations:
        return
    plain = {gpu: asdict(calibration) for gpu, calibration in sorted((read(folder) | calibrations).items())}
    with renamed_when_done(folder / FILE) as part:
        part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[str, Calibration]:
    """The calibrations that a sweep's folder holds, by GPU; none where the file is missing or damaged."""
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        found = {str(gpu): Calibration(**facts) for gpu, facts in plain.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {gpu: c for gpu, c in found.items() if isinstance(c.constant_gib, int | float)}


def fitted_to(gpu: str, folder: Path) -> tuple[Calibration, Path] | None:
    """The calibration of a GPU, by any of its names, and the file that holds it: of this sweep, else of the sweep
    beside it that was calibrated last. None where there is none."""
    beside = [path for path in folder.parent.glob(f"*/{FILE}") if path.parent != folder]
    beside.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in [folder / FILE, *beside]:
        for name, calibration in read(path.parent).items():
            if same_gpu(name, gpu):
                return calibration, path
    return None


def against_measured(pairs: Iterable[Pair]) -> "pd.DataFrame":
    """One line a row and stage (and `run`, the whole): key, gpu, memory, decode_chunk_size, stage, predicted_gib,
    measured_gib (allocated peaks) and their ratio measured / predicted. Stages that were not measured are left out."""
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for row, summary in pairs:
        for stage in (*STAGES, WHOLE):
            whole = stage == WHOLE
            found = _number(row, "vram_allocated_peak_gib" if whole else f"{stage}_vram_allocated_peak_gib")
            foreseen = summary.peak_gib if whole else summary.stages[stage].peak_gib
            if found is not None and foreseen > 0:
                lines.append(
                    {
                        "key": row.key,
                        "gpu": row.provenance.get("gpu"),
                        "memory": row.job.memory.name,
                        "decode_chunk_size": cache.chunk_of(row.job),
                        "stage": stage,
                        "predicted_gib": foreseen,
                        "measured_gib": found,
                        "ratio": found / foreseen,
                    }
                )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _number(row: Row, name: str) -> float | None:
    value = row.values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _quantile(values: list[float], share: float) -> float:
    """The smallest value that is at least as large as `share` of them."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
