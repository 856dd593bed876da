"""Did a strategy keep the frames? Baselines are kept without loss, and the other jobs are compared with them.

No torch until frames are compared: the driver asks here after every sweep."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from svdsweep.config import Job, Memory
from svdsweep.config.keys import canonical
from svdsweep.metrics import Context, score
from svdsweep.metrics.contract import PSNR_CAP_DB
from svdsweep.store.files import renamed_when_done
from svdsweep.store.measurements import Measurements
from svdsweep.store.places import files_in, is_plain
from svdsweep.store.rows import Row
from svdsweep.worker.media import Frames

WAITING = (
    "not compared with its baseline, whose frames are not there: it has not run, or ran in a sweep without strategies "
    "to compare (runner.fresh=true runs it again)"
)
WAITING_PLACE = "baselines/waiting"
"""Where in a sweep the frames of jobs are that wait for their baseline."""
FAMILY = "baseline"
"""The metric family that compares the frames."""
FAMILY_ALONE = "ssim_to_baseline"
"""The column, and the series of a value a frame, that only jobs which ask for the family have."""

EQUIVALENT_MAX_ABS, EQUIVALENT_PSNR_DB = 2, 48.13
"""At most two levels anywhere, and one level root mean square in the worst frame."""
NEAR_PSNR_DB, NEAR_SSIM = 35.0, 0.97
EXACT = frozenset(knob.name for knob in fields(Memory) if knob.name.startswith("offload"))
"""Knobs that move weights and nothing else: not bit-equal on the same device is a fault of the strategy."""


LARGEST_BYTES = 4 * 2**30
"""Of kept frames, more than any video that is made here: what claims to be larger is not unpacked."""


@dataclass(frozen=True)
class Kept:
    """What a run produced: `frames` (F, H, W, 3) uint8, of which `decoded` were decoded at once, and the final
    `latents` (1, F, C, h, w) float32; the device that it ran on; for a baseline that was repeated, the PSNR (dB) of
    its frames against those of the repetition."""

    frames: Frames
    latents: NDArray[np.float32]
    decoded: int
    device: str
    noise_floor_db: float | None = None


def baseline_of(folder: Path, job: Job) -> Kept | None:
    """What a job's baseline produced; None if the job has none, is one itself, or is ahead of its baseline."""
    return read_kept(baseline_path(folder, job.baseline)) if job.baseline not in ("", job.key) else None


def against_baseline(
    folder: Path, job: Job, mine: Kept, baseline: Kept | None, alike: Measurements | None = None
) -> Measurements:
    """Columns of a job against its `baseline_of`; for `alike` see `compare`. A baseline's own frames are kept; a job
    that is ahead of its baseline waits for `compare_missing`; a job that names no baseline is not compared."""
    if not job.baseline:
        return Measurements()
    if job.baseline == job.key:
        write_kept(baseline_path(folder, job.key), mine)
        return Measurements(values={"equality": "baseline"})
    if baseline:
        return judged(job, mine, baseline, alike)
    write_kept(waiting_path(folder, job.key), mine)
    return Measurements(notes=[WAITING])


def compare_missing(folder: Path, rows: Mapping[str, Row]) -> list[Row]:
    """Those of a sweep's `rows`, given by key, that ran before their baselines, compared now that these are there: to
    be appended to the store."""
    compared = []
    for waiting in files_in(folder, WAITING_PLACE):
        row = rows.get(waiting.stem)
        mine = read_kept(waiting) if row and row.status == "ok" else None
        baseline = baseline_of(folder, row.job) if row and mine else None
        if row and mine and baseline:
            columns = Measurements(dict(row.values), dict(row.series), [n for n in row.notes if n != WAITING])
            columns.add(judged(row.job, mine, baseline))
            compared.append(replace(row, values=columns.values, series=columns.series, notes=columns.notes))
            waiting.unlink()
    return compared


def judged(job: Job, mine: Kept, baseline: Kept, alike: Measurements | None = None) -> Measurements:
    """The comparison, and whether a strategy that is exact by construction kept its word."""
    columns = compare(mine, baseline, alike)
    if FAMILY not in job.metrics.families:
        columns.series.clear()
        columns.values.pop(FAMILY_ALONE, None)
    floor = baseline.noise_floor_db
    repeats = floor is None or floor >= PSNR_CAP_DB
    if columns.values["equality"] == "different" and floor is not None and not repeats:
        psnr = columns.values.get("psnr_to_baseline_db")
        if isinstance(psnr, float) and psnr >= floor:
            columns.values["equality"] = "near"
            note = f"as far from its baseline as that is from its own repetition ({floor:.1f} dB)"
            columns.notes.append(note)
    if set(canonical(job.memory)) <= EXACT:
        decoded_alike = mine.decoded == baseline.decoded and not job.decodes_by_frame
        _hold_to_its_word(columns, mine, baseline, repeats, "frames" if decoded_alike else "latents")
    return columns


def _hold_to_its_word(columns: Measurements, mine: Kept, baseline: Kept, repeats: bool, what: str) -> None:
    """Add a fault where a strategy that only moves weights changed bits of `what` (frames or latents) that the baseline
    itself repeats."""
    column = "bit_equal_to_baseline" if what == "frames" else "latents_bit_equal_to_baseline"
    if mine.device != baseline.device:
        columns.notes.append(f"its baseline ran on another device ({baseline.device}): bits may differ")
    elif not columns.values[column] and repeats:
        fault = f"{what} differ from the baseline's, though the strategy only moves weights"
        columns.values["fault"] = fault
        columns.notes.append(f"FAULT of the strategy: {fault}")


def compare(mine: Kept, baseline: Kept, alike: Measurements | None = None) -> Measurements:
    """Columns and series of a run against its baseline: those of the metric family `baseline` (`alike`, if they were
    computed already), the worst frame, the latents, and `equality`, which is `exact`, `equivalent`, `near` or
    `different`."""
    if mine.frames.shape != baseline.frames.shape:
        return Measurements(values={"equality": "different", "bit_equal_to_baseline": False})
    columns = alike or score(mine.frames, Context(reference=baseline.frames), [FAMILY])
    psnrs = columns.series["psnr_to_baseline_db"]
    exact = bool(columns.values["bit_equal_to_baseline"])
    columns.values["psnr_min_to_baseline_db"] = min(psnrs)
    columns.values["worst_frame"] = None if exact else psnrs.index(min(psnrs))
    if mine.latents.shape == baseline.latents.shape:
        gap = np.abs(mine.latents - baseline.latents)
        largest_gap = float(gap.max()) if np.isfinite(gap).all() else None
        columns.values["latents_max_abs_diff_to_baseline"] = largest_gap
        columns.values["latents_bit_equal_to_baseline"] = bool((mine.latents == baseline.latents).all())
        columns.values["latents_error_to_baseline"] = relative_error(mine.latents, baseline.latents)
    largest, ssim = columns.values["max_abs_diff_to_baseline"], columns.values["ssim_to_baseline"]
    if exact:
        equality = "exact"
    elif float(largest or 0) <= EQUIVALENT_MAX_ABS and min(psnrs) >= EQUIVALENT_PSNR_DB:
        equality = "equivalent"
    elif fmean(psnrs) >= NEAR_PSNR_DB and float(ssim or 0) >= NEAR_SSIM:
        equality = "near"
    else:
        equality = "different"
    columns.values["equality"] = equality
    return columns


def relative_error(latents: NDArray[np.float32], true: NDArray[np.float32]) -> float | None:
    """Root mean square of the difference over that of the `true` latents; None where it is no finite number."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = float(np.linalg.norm((latents - true).astype(float)) / np.linalg.norm(true.astype(float)))
    return error if math.isfinite(error) else None


def baseline_path(folder: Path, key: str) -> Path:
    """Where a sweep keeps a baseline's frames."""
    return folder / "baselines" / f"{key}.npz"


def waiting_path(folder: Path, key: str) -> Path:
    """Where a sweep keeps the frames of a job whose baseline is not there yet."""
    return folder / WAITING_PLACE / f"{key}.npz"


def write_kept(path: Path, kept: Kept) -> None:
    """Write a run's product without loss, under a temporary name until the file is whole."""
    with renamed_when_done(path) as part, part.open("wb") as f:
        floor = np.nan if kept.noise_floor_db is None else kept.noise_floor_db
        np.savez(
            f,
            packed=pack(kept.frames),
            shape=kept.frames.shape,
            latents=kept.latents,
            decoded=kept.decoded,
            device=kept.device,
            floor=floor,
        )


def read_kept(path: Path) -> Kept | None:
    """What `write_kept` wrote, here or in an earlier version; None when there is no such file, or none that can be
    read."""
    if not is_plain(path):
        return None
    try:
        with np.load(path) as data:
            decoded, device, floor = int(data["decoded"]), str(data["device"]), float(data["floor"])
            latents = data["latents"]
            frames = unpack(data["packed"], data["shape"]) if "packed" in data else data["frames"]
    except Exception:  # a stranger's archive makes its readers raise anything
        return None
    if (frames.dtype, frames.ndim, latents.dtype, latents.ndim) != (np.uint8, 4, np.float32, 5):
        return None
    return Kept(frames, latents, decoded, device, None if math.isnan(floor) else floor)


def pack(frames: Frames) -> NDArray[np.uint8]:
    """Frames without loss as few bytes: differences to the line above, by Zstandard at its first level.

    A fifth of the time of Huffman's code by zlib, for files of the same size."""
    import pyarrow as pa

    gaps = frames.copy()
    gaps[:, 1:] -= frames[:, :-1]
    return np.frombuffer(pa.Codec("zstd", compression_level=1).compress(pa.py_buffer(gaps)), np.uint8)


def unpack(packed: NDArray[np.uint8], shape: NDArray[np.int64]) -> Frames:
    """What `pack` was given. Raises ValueError or OSError for anything else, and unpacks no more than `shape` holds and
    no more than `LARGEST_BYTES`."""
    import pyarrow as pa

    count, height, width, colours = (int(side) for side in shape)
    size = count * height * width * colours
    if min(count, height, width, colours) < 1 or size > LARGEST_BYTES:
        raise ValueError(f"no frames have the shape {shape}")
    gaps = np.frombuffer(pa.Codec("zstd").decompress(packed, size), np.uint8)  # another size raises
    frames: Frames = gaps.reshape(count, height, width, colours).copy()
    for y in range(1, height):  # a quarter of the time of np.add.accumulate
        frames[:, y] += frames[:, y - 1]
    return frames
