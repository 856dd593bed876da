"""Sweeps that nobody ran: rows with chosen times, peaks and metrics, for tests of what reads them."""

import dataclasses
import json
import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from svdsweep.analysis.pairs import NO_PAIR
from svdsweep.analysis.strategies import Strategy
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import comparison
from svdsweep.config import Image, Job, Memory, Model
from svdsweep.store.rows import Row, Store
from svdsweep.worker.media import write_contact_sheet, write_video

GPU = {
    "gpu": "NVIDIA RTX 4090",
    "cpu": "a processor",
    "host": "bench",
    "torch": "2.15.0",
    "diffusers": "0.42.1",
}
SVD = Model(name="svd_xt", source="x/svd-xt", dtype="float16", architecture="svd_xt", max_num_frames=25)
FULL = {"num_frames": 25, "height": 576, "width": 1024, "num_inference_steps": 25}
STRATEGIES = {
    "baseline": Memory(name="baseline"),
    "model_offload": Memory(name="model_offload", offload="model"),
    "forward_chunking": Memory(name="forward_chunking", forward_chunk_size=5),
    "compile": Memory(name="compile", compile="whole"),
}
RELATIVE = {"baseline": 1.0, "model_offload": 1.3, "forward_chunking": 1.1, "compile": 0.8}
PEAK_GIB = {"baseline": 30.0, "model_offload": 28.0, "forward_chunking": 20.0, "compile": 31.0}


def job(memory: Memory = STRATEGIES["baseline"], **settings: object) -> Job:
    """A job that names its baseline, as the grid does."""
    settings = {"image": Image(name="rocket", path="rocket.jpg", sha256="5127"), **settings}
    base = Job(memory=Memory(), **settings)
    return Job(memory=memory, baseline=base.key, **settings)


def ok(
    job: Job,
    total_s: Iterable[float] = (10.0, 10.1, 9.9),
    provenance: dict[str, object] | None = None,
    **values: object,
) -> Row:
    """A row that ended well."""
    runs = list(total_s)
    middle = sorted(runs)[len(runs) // 2]
    plain = {
        "total_s": middle,
        "denoise_s": 0.7 * middle,
        "vae_decode_s": 0.25 * middle,
        "image_encode_s": 0.01 * middle,
        "vae_encode_s": 0.04 * middle,
        "equality": "baseline" if job.key == job.baseline else "exact",
        "psnr_to_baseline_db": None if job.key == job.baseline else 100.0,
        **values,
    }
    return Row(job, "ok", values=plain, series={"total_s": runs}, provenance=dict(provenance or GPU))


def in_memory(*rows: Row) -> Sweep:
    """What a sweep's folder with these rows is read as."""
    table = comparison(rows)
    return Sweep(Path("runs/made_up"), {}, table, {row.key: row.job for row in rows}, {}, {})


def strategy(name: str, **facts: object) -> Strategy:
    """A strategy of one finished job, nothing else known of it."""
    unknown = dict.fromkeys(("total_s", "memory_gib", "reserved_gib", "psnr_db", "equality"))
    told = {"workload": "a clip", "machine": "a card", "statuses": {"ok": 1}, "metrics": {}, "faults": 0}
    return Strategy(name, **{**unknown, **told, "latency": NO_PAIR, "memory": NO_PAIR, **facts})


def sweep(
    folder: Path,
    seeds: Iterable[int] = range(2),
    buckets: Iterable[int] = (60, 120, 180),
    strategies: dict[str, Memory] = STRATEGIES,
    repeats: int = 5,
    noise: float = 0.01,
    videos: bool = False,
    change: Callable[[Row], Row] = lambda row: row,
    **settings: object,
) -> list[Row]:
    """Write a sweep on a GPU: seeds × motion buckets × strategies; `change` may spoil a row."""
    luck = random.Random(0)
    store, rows = Store(folder, "bench-1"), []
    for name, memory in strategies.items():
        for seed in seeds:
            for bucket in buckets:
                here = job(memory, seed=seed, motion_bucket_id=bucket, **settings)
                times = [
                    10 * RELATIVE.get(name, 1.0) * math.exp(luck.gauss(0, noise)) for _ in range(repeats)
                ]
                files = {}
                if videos:
                    files = {"video": f"videos/{here.key}.mp4", "contact_sheet": f"sheets/{here.key}.png"}
                    frames = pictures(seed, bucket, list(strategies).index(name))
                    write_video(folder / files["video"], frames, 7)
                    write_contact_sheet(folder / files["contact_sheet"], frames)
                peak = PEAK_GIB.get(name, 30.0)
                row = ok(
                    here,
                    times,
                    vram_allocated_peak_gib=peak,
                    vram_reserved_peak_gib=peak + 1,
                    denoise_vram_allocated_peak_gib=peak / 2,
                    vae_decode_vram_allocated_peak_gib=peak,
                    motion_px=bucket / 60 + luck.gauss(0, 0.05),
                    mc_flicker_255=1.5 + luck.gauss(0, 0.02),
                    first_psnr_db=25 + luck.gauss(0, 0.1),
                    **files,
                )
                if name == "forward_chunking":
                    row = dataclasses.replace(
                        row, values={**row.values, "equality": "near", "psnr_to_baseline_db": 44.0}
                    )
                rows.append(change(row))
                store.append(rows[-1])
    manifest = {
        "name": folder.name,
        "settings": ["seed=0,1", "motion_bucket_id=60,120,180"],
        "keys": [r.key for r in rows],
    }
    (folder / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")
    return rows


def pictures(seed: int, bucket: int, shade: int) -> np.ndarray:
    """Seven small frames of a square that moves."""
    frames = np.full((7, 64, 96, 3), 40 + 30 * seed + shade, np.uint8)
    for i, frame in enumerate(frames):
        x = (i * bucket // 30) % 70
        frame[20:44, x : x + 24] = (200, 120, 60)
    return frames
