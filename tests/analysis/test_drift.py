"""A machine that slows down over a sweep is told; one that does not, is not."""

from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from settings import with_another

from svdsweep.analysis.drift import drift_of_sweep
from svdsweep.analysis.sweep import Sweep, open_sweep
from svdsweep.config import Job
from svdsweep.report.page import gather
from svdsweep.store.rows import Row, Store


def rows(seconds: list[float], job: Job | None = None) -> list[Row]:
    return [
        made_up.ok(
            replace(job or made_up.job(), seed=i),
            [s],
            provenance={"host": "bench"},
            started_at=f"2026-01-01T00:00:{i:02}.000+00:00",
        )
        for i, s in enumerate(seconds)
    ]


def said(folder: Path, *found: Row) -> list[str]:
    for row in found:
        Store(folder).append(row)
    return drift_of_sweep(open_sweep(folder))


def test_a_machine_that_slows_down_is_told_also_on_the_page(tmp_path):
    [sentence] = said(tmp_path, *reversed(rows([1.0, 1.05, 1.1, 3.0, 1.15, 1.2, 1.25])))
    assert sentence.startswith("baseline on bench: total_s rose by 14%")
    assert sentence in gather(open_sweep(tmp_path)).said


def test_noise_a_small_rise_and_few_rows_are_not(tmp_path):
    assert not said(tmp_path / "noise", *rows([1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1]))
    assert not said(tmp_path / "small", *rows([1.0, 1.001, 1.002, 1.003, 1.004, 1.005]))
    assert not said(tmp_path / "few", *rows([1.0, 2.0, 3.0]))


def test_only_equal_work_is_compared(tmp_path):
    lengths = [rows([float(n)], replace(made_up.job(), num_frames=n))[0] for n in range(2, 9)]
    assert not said(tmp_path / "lengths", *lengths)
    other = made_up.job(made_up.STRATEGIES["model_offload"])
    assert not said(tmp_path / "strategies", *rows([1.0, 1.1, 1.2]), *rows([2.0, 2.1, 2.2], other))


@pytest.mark.parametrize(
    "setting", ["motion_bucket_id", "noise_aug_strength", "fps", "image.name", "measure.name"]
)
def test_settings_that_change_no_work_may_differ(setting):
    assert drift_of_sweep(half_with_another(setting))


@pytest.mark.parametrize(
    "setting",
    [
        *("num_frames", "height", "width", "num_inference_steps", "max_guidance_scale", "decode_chunk_size"),
        *("model.name", "model.dtype", "memory.name", "memory.offload", "gpu.memory_limit_gib"),
    ],
)
def test_settings_that_change_the_work_may_not(setting):
    assert not drift_of_sweep(half_with_another(setting))


def half_with_another(setting: str) -> Sweep:
    """Six jobs, each slower than the one before, of which the later three have another value of a setting."""
    slower = rows([1.0, 1.1, 1.2, 2.0, 2.1, 2.2])
    changed = [replace(row, job=with_another(row.job, setting)) for row in slower[3:]]
    return made_up.in_memory(*slower[:3], *changed)


@pytest.mark.parametrize("place", ["host", "gpu_uuid"])
def test_a_slower_machine_or_gpu_that_joins_later_is_no_drift(tmp_path, place):
    found = [
        replace(row, provenance={**row.provenance, place: f"{1 + i // 4}"})
        for i, row in enumerate(rows([1.0] * 4 + [2.0] * 4))
    ]
    assert not said(tmp_path, *found)


def test_rows_without_a_time_of_their_own_do_not_count(tmp_path):
    shared = [
        replace(r, values={**r.values, "latency_shared_with": "k"})
        for r in rows([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    ]
    assert not said(tmp_path, *shared)
