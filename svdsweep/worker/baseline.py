"""Did a strategy keep the frames? Baselines are kept without loss, and the others compared with them. No torch."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from svdsweep.config import Job
from svdsweep.config.keys import canonical
from svdsweep.store.files import renamed_when_done
from svdsweep.store.measurements import Measurements
from svdsweep.store.rows import Row, Scalar, read_rows
from svdsweep.worker.media import Frames

PSNR_CAP_DB = 100.0
"""What equal frames score, as the metrics have it; `bit_equal_to_baseline` tells them from nearly equal ones."""
WAITING = (
    "not compared with its baseline, whose frames are not there: it has not run, or ran in a sweep without strategies "
    "to compare (runner.fresh=true runs it again)"
)

EQUIVALENT_MAX_ABS, EQUIVALENT_PSNR_DB = 2, 48.13
"""At most two levels anywhere, and one level root mean square in the worst frame."""
NEAR_PSNR_DB, NEAR_SSIM = 35.0, 0.97
EXACT = frozenset(
    {
        "offload",
        "offload_stream",
        "offload_non_blocking",
        "offload_record_stream",
        "offload_low_cpu_memory",
        "offload_to_disk",
        "offload_num_blocks",
    }
)
"""Knobs that move weights and nothing else: not bit-equal on the same device is a fault of the strategy."""


@dataclass(frozen=True)
class Kept:
    """What a run produced: `frames` (F, H, W, 3) uint8, `decoded` so many at once, and the final `latents` (1, F, C,
    h, w) float32; on which device; for a baseline the PSNR (dB) against its own repetition, where it was repeated."""

    frames: Frames
    latents: NDArray[np.float32]
    decoded: int
    device: str
    noise_floor_db: float | None = None


def against_baseline(folder: Path, job: Job, mine: Kept) -> Measurements:
    """Columns of a job against its baseline's kept frames. A baseline's own are kept; a job that is ahead of its
    baseline waits for `compare_missing`; a job that names no baseline is not compared."""
    if not job.baseline:
        return Measurements()
    if job.baseline == job.key:
        write_kept(baseline_path(folder, job.key), mine)
        return Measurements(values={"equality": "baseline"})
    if baseline := read_kept(baseline_path(folder, job.baseline)):
        return judged(job, mine, baseline)
    write_kept(waiting_path(folder, job.key), mine)
    return Measurements(notes=[WAITING])


def compare_missing(folder: Path) -> list[Row]:
    """Rows of jobs that ran before their baselines, compared now that these are there: to be appended to the store."""
    filled = []
    for row in {row.key: row for row in read_rows(folder)}.values():
        waiting = waiting_path(folder, row.key)
        mine = read_kept(waiting) if row.status == "ok" else None
        baseline = read_kept(baseline_path(folder, row.job.baseline)) if mine else None
        if mine and baseline:
            columns = judged(row.job, mine, baseline)
            notes = [note for note in row.notes if note != WAITING] + columns.notes
            filled.append(replace(row, values={**row.values, **columns.values}, notes=notes))
            waiting.unlink()
    return filled


def judged(job: Job, mine: Kept, baseline: Kept) -> Measurements:
    """The comparison, and whether a strategy that is exact by construction kept its word."""
    columns = Measurements(values=compare(mine, baseline))
    floor = baseline.noise_floor_db
    if columns.values["equality"] == "different" and floor is not None and floor < PSNR_CAP_DB:
        psnr = columns.values.get("psnr_to_baseline_db")
        if isinstance(psnr, float) and psnr >= floor:
            columns.values["equality"] = "near"
            columns.notes.append(
                f"as far from its baseline as that is from its own repetition ({floor:.1f} dB)"
            )
    if set(canonical(job.memory)) <= EXACT:
        same_decode = mine.decoded == baseline.decoded
        kept = columns.values["bit_equal_to_baseline" if same_decode else "latents_bit_equal_to_baseline"]
        if mine.device != baseline.device:
            columns.notes.append(f"its baseline ran on another device ({baseline.device}): bits may differ")
        elif not kept and (floor is None or floor >= PSNR_CAP_DB):
            what = "frames" if same_decode else "latents"
            columns.values["fault"] = (
                f"{what} differ from the baseline's, though the strategy only moves weights"
            )
            columns.notes.append(f"FAULT of the strategy: {columns.values['fault']}")
    return columns


def baseline_path(folder: Path, key: str) -> Path:
    """Where a sweep keeps a baseline's frames."""
    return folder / "baselines" / f"{key}.npz"


def waiting_path(folder: Path, key: str) -> Path:
    """Where a sweep keeps the frames of a job whose baseline is not there yet."""
    return folder / "baselines" / "waiting" / f"{key}.npz"


def write_kept(path: Path, kept: Kept) -> None:
    """Losslessly compressed, under a temporary name until it is whole."""
    with renamed_when_done(path) as part, part.open("wb") as f:
        floor = np.nan if kept.noise_floor_db is None else kept.noise_floor_db
        np.savez_compressed(
            f, frames=kept.frames, latents=kept.latents, decoded=kept.decoded, device=kept.device, floor=floor
        )


def read_kept(path: Path) -> Kept | None:
    """None when there is no such file, or none that can be read."""
    try:
        with np.load(path) as data:
            floor = float(data["floor"])
            known = None if math.isnan(floor) else floor
            return Kept(data["frames"], data["latents"], int(data["decoded"]), str(data["device"]), known)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def compare(mine: Kept, baseline: Kept) -> dict[str, Scalar]:
    """Columns of a row against its baseline; `equality` is `exact`, `equivalent`, `near` or `different`."""
    if mine.frames.shape != baseline.frames.shape:
        return {"equality": "different", "bit_equal_to_baseline": False}
    psnrs = [psnr_db(a, b) for a, b in zip(mine.frames, baseline.frames, strict=True)]
    difference = np.abs(mine.frames.astype(np.int16) - baseline.frames)
    largest = int(difference.max())
    values: dict[str, Scalar] = {
        "bit_equal_to_baseline": largest == 0,
        "max_abs_diff_to_baseline": largest,
        "psnr_to_baseline_db": psnr_db(mine.frames, baseline.frames),
        "psnr_min_to_baseline_db": min(psnrs),
        "worst_frame": int(np.argmin(psnrs)) if largest else None,
    }
    if mine.latents.shape == baseline.latents.shape:
        gap = np.abs(mine.latents - baseline.latents)
        values["latents_max_abs_diff_to_baseline"] = float(gap.max()) if np.isfinite(gap).all() else None
        values["latents_bit_equal_to_baseline"] = bool((mine.latents == baseline.latents).all())
    if not largest:
        values["equality"] = "exact"
    elif largest <= EQUIVALENT_MAX_ABS and min(psnrs) >= EQUIVALENT_PSNR_DB:
        values["equality"] = "equivalent"
    elif sum(psnrs) / len(psnrs) >= NEAR_PSNR_DB and (ssim(mine.frames, baseline.frames) or 0) >= NEAR_SSIM:
        values["equality"] = "near"
    else:
        values["equality"] = "different"
    return values


def psnr_db(a: Frames, b: Frames) -> float:
    """Peak signal-to-noise ratio of uint8 pictures, pooled over all pixels, at most `PSNR_CAP_DB`."""
    mse = float(np.square(a.astype(np.float32) - b).mean(dtype=np.float64))
    return PSNR_CAP_DB if mse == 0 else min(PSNR_CAP_DB, 10 * math.log10(255**2 / mse))


def ssim(a: Frames, b: Frames) -> float | None:
    """Mean structural similarity over the frames, −1 to 1; None for pictures smaller than its window."""
    import torch

    from svdsweep.metrics.shared.footage import as_tensor
    from svdsweep.metrics.shared.likeness import Windowed
    from svdsweep.metrics.shared.likeness import ssim as likeness

    cpu = torch.device("cpu")
    pairs = [
        (Windowed(as_tensor(x[None], cpu)), Windowed(as_tensor(y[None], cpu)))
        for x, y in zip(a, b, strict=True)
    ]
    scores = [s for one, two in pairs if (s := likeness(one, two)) is not None]
    return sum(scores) / len(scores) if scores else None
