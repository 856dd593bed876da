"""A sweep that nobody ran, with what trackers must cope with: unknown numbers, a failure, random weights, pictures."""

import dataclasses

import made_up
import pytest

from svdsweep.config import Memory
from svdsweep.store.rows import Row, Store

SECRET = "s3cr3t-t0ken-of-mine"


def changed(row: Row) -> Row:
    """The row with steps, unknown values, a secret and a date."""
    values = {"vram_process_peak_gib": None, "started_at": "2026-11-20T10:00:00+00:00", "dynamic": True}
    series = {"step_s": [[0.1, 0.2], [0.3, None]], "motion_px": [1.0, None, 3.0]}
    return dataclasses.replace(
        row,
        values={**row.values, **values, "remark": f"=cmd|{SECRET}"},
        series={**row.series, **series},
        notes=[f"a note with {SECRET}"],
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two jobs that ended well and have pictures, and one that failed."""
    monkeypatch.setenv("MY_TOKEN", SECRET)
    folder = tmp_path / "runs" / "motion"
    made_up.sweep(
        folder,
        seeds=[0],
        buckets=[60, 120],
        strategies={"baseline": Memory(name="baseline")},
        repeats=2,
        videos=True,
        change=changed,
    )
    job = made_up.job(seed=7, model=dataclasses.replace(made_up.SVD, weights="random"))
    Store(folder, "bench-1").append(Row(job, "failed", 1, "RuntimeError: x\n\nat y", "denoise"))
    return folder


@pytest.fixture
def rows(folder):
    """Its rows that count, by key."""
    return Store(folder).rows()
