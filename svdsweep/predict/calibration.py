"""Prediction against measurement: a table of ratios, and the one constant of a GPU that follows from it."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from svdsweep.config import Job
from svdsweep.predict import cache
from svdsweep.predict.gpus import same_gpu
from svdsweep.predict.prediction import Prediction
from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import is_plain, read_plain
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
KINDS = ("allocated", "reserved", "process")
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
    """What the process used beyond what PyTorch reserved; the median of the rows."""
    context_measured: bool
    rows: int
    largest_gib: float
    """The largest predicted peak of these rows: what larger ones take beside their tensors was not seen."""


def measured(rows: Iterable[Row]) -> list[Row]:
    """The rows that ended well on a GPU that counted its memory."""
    on_gpu = [row for row in rows if row.status == "ok" and isinstance(row.provenance.get("gpu"), str)]
    return [row for row in on_gpu if _number(row, "vram_allocated_peak_gib") is not None]


def predicted(rows: Sequence[Row]) -> tuple[list[Pair], list[Job]]:
    """Those rows whose prediction is in the cache, with it; and one job of each strategy and size without one. A row
    that was decoded by `auto` is left out: how, only the worker knows.

    Rows are told apart by parts of their jobs that those of a sweep share: keys of the cache would take a second for
    10,000 rows."""
    by_settings: dict[tuple[Any, ...], Prediction | None] = {}
    pairs, unpredicted = [], []
    for row in rows:
        job = row.job
        if job.decode_chunk_size == "auto":
            continue
        sizes = job.num_frames, job.height, job.width, job.num_inference_steps, job.frames_per_decode
        settings = id(job.model), id(job.memory), *sizes, job.max_guidance_scale > 1
        if settings not in by_settings:
            by_settings[settings] = cache.known(job)
            if by_settings[settings] is None:
                unpredicted.append(job)
        if prediction := by_settings[settings]:
            pairs.append((row, prediction))
    return pairs, unpredicted


def calibrate(pairs: Iterable[Pair]) -> dict[str, Calibration]:
    """One calibration for each GPU of measured and predicted rows, by its name. What is predicted as something else
    (a compiled run as the eager one) does not count: its difference is no constant of the GPU."""
    pairs_by_gpu: dict[str, list[Pair]] = {}
    for row, prediction in pairs:
        if not prediction.notes:
            pairs_by_gpu.setdefault(str(row.provenance["gpu"]), []).append((row, prediction))
    return {gpu: _fitted(gpu, pairs) for gpu, pairs in pairs_by_gpu.items()}


def _fitted(gpu: str, pairs: Sequence[Pair]) -> Calibration:
    excess, contexts = [], []
    for row, prediction in pairs:
        allocated, reserved, process = (_number(row, f"vram_{kind}_peak_gib") for kind in KINDS)
        if allocated is not None:
            excess.append(allocated - prediction.peak_gib)
        if process is not None and reserved is not None and process > reserved:
            contexts.append(process - reserved)
    workspace_gib = max(0.0, sorted(excess)[math.ceil(NEAR_THE_WORST * len(excess)) - 1])
    context_gib = statistics.median(contexts) if contexts else GUESSED_CONTEXT_GIB
    constant_gib = workspace_gib + context_gib
    largest_gib = max(prediction.peak_gib for _, prediction in pairs)
    return Calibration(gpu, constant_gib, workspace_gib, context_gib, bool(contexts), len(pairs), largest_gib)


def write(folder: Path, calibrations: dict[str, Calibration]) -> None:
    """`calibration.json` beside a sweep's rows; GPUs that it holds already and that were not fitted anew stay."""
    if not calibrations:
        return
    plain = {gpu: asdict(calibration) for gpu, calibration in sorted((read(folder) | calibrations).items())}
    with renamed_when_done(folder / FILE) as part:
        part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8", newline="\n")


def read(folder: Path) -> dict[str, Calibration]:
    """The calibrations that a sweep's folder holds, by GPU; none where the file is missing or damaged."""
    try:
        plain = orjson.loads(read_plain(folder / FILE))
        calibrations = {gpu: Calibration(**facts) for gpu, facts in plain.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {gpu: c for gpu, c in calibrations.items() if _is_one(c)}


def _is_one(c: Calibration) -> bool:
    """Whether a calibration of a file has the kinds and sizes that one can have."""
    gib = (c.constant_gib, c.workspace_gib, c.context_gib, c.largest_gib)
    numbers = all(type(each) in (int, float) and 0 <= each < 1e6 for each in gib)
    return numbers and type(c.gpu) is str and type(c.rows) is int and 0 <= c.rows < 1e9


def fitted_to(gpu: str, folder: Path) -> tuple[Calibration, Path] | None:
    """The calibration of a GPU, by any of its names, and the file that holds it: of this sweep, else of the sweep
    beside it that was calibrated last. None where there is none."""
    all_files = filter(is_plain, folder.parent.glob(f"*/{FILE}"))
    for path in [folder / FILE, *sorted(all_files, key=lambda path: path.stat().st_mtime_ns, reverse=True)]:
        for name, calibration in read(path.parent).items():
            if same_gpu(name, gpu):
                return calibration, path
    return None


def against_measured(pairs: Iterable[Pair]) -> "pd.DataFrame":
    """One line a row and stage (and `run`, the whole): key, gpu, memory, decode_chunk_size, stage, predicted_gib,
    measured_gib (allocated peaks) and their ratio measured / predicted. Stages that were not measured are left out."""
    import pandas as pd

    lines = []
    for row, prediction in pairs:
        facts = row.key, row.provenance.get("gpu"), row.job.memory.name, cache.chunk_of(row.job)
        peaks = {stage: stage_peak.peak_gib for stage, stage_peak in prediction.stages.items()}
        for stage, predicted_gib in (peaks | {WHOLE: prediction.peak_gib}).items():
            prefix = "" if stage == WHOLE else f"{stage}_"
            measured_gib = _number(row, f"{prefix}vram_allocated_peak_gib")
            if measured_gib is not None and predicted_gib > 0:
                lines.append((*facts, stage, predicted_gib, measured_gib, measured_gib / predicted_gib))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _number(row: Row, name: str) -> float | None:
    value = row.values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
