"""Classes of equality, kept baselines, late comparisons, and strategies that break their word."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svdsweep.config import Job, Memory, Metrics
from svdsweep.store.rows import Row, Store
from svdsweep.worker.baseline import (
    Kept,
    against_baseline,
    baseline_of,
    baseline_path,
    compare,
    compare_missing,
    judged,
    read_kept,
    waiting_path,
    write_kept,
)

rng = np.random.default_rng(0)
FRAMES = rng.integers(20, 235, (4, 32, 32, 3)).astype(np.uint8)
LATENTS = rng.standard_normal((1, 4, 4, 4, 4)).astype(np.float32)
BASE = Kept(FRAMES, LATENTS, 4, "card")
JOB = Job(num_frames=4)
BASELINE = replace(JOB, baseline=JOB.key)


def changed(by: Any, **more: Any) -> Kept:
    frames = (FRAMES.astype(int) + by).clip(0, 255).astype(np.uint8)
    return replace(BASE, frames=frames, **more)


def under(**knobs: Any) -> Job:
    return replace(JOB, memory=Memory(**knobs), baseline=BASELINE.key)


def test_equal_frames_are_exact() -> None:
    values = compare(BASE, BASE).values
    assert values["equality"] == "exact"
    assert values["bit_equal_to_baseline"] is True
    assert values["psnr_to_baseline_db"] == 100
    assert values["latents_bit_equal_to_baseline"] is True


def test_one_level_everywhere_is_equivalent() -> None:
    values = compare(changed(1), BASE).values
    assert (values["equality"], values["max_abs_diff_to_baseline"]) == ("equivalent", 1)
    assert values["psnr_to_baseline_db"] == pytest.approx(48.13, abs=0.01)


def test_a_few_levels_of_noise_are_near_and_many_are_different() -> None:
    assert compare(changed(rng.integers(-3, 4, FRAMES.shape)), BASE).values["equality"] == "near"
    assert compare(changed(rng.integers(-40, 41, FRAMES.shape)), BASE).values["equality"] == "different"
    assert compare(replace(BASE, frames=FRAMES[:2]), BASE).values["equality"] == "different"


def test_one_bad_frame_is_found() -> None:
    by = np.zeros(FRAMES.shape, int)
    by[2] = 3
    values = compare(changed(by), BASE).values
    assert values["worst_frame"] == 2
    assert values["equality"] != "equivalent"


def test_similarity_is_that_of_the_reference_implementation() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    other = changed(rng.integers(-9, 10, FRAMES.shape))
    expected = [
        skimage.structural_similarity(
            a,
            b,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        for a, b in zip(FRAMES, other.frames, strict=True)
    ]
    assert compare(other, BASE).values["ssim_to_baseline"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_kept_frames_come_back_as_they_were(tmp_path: Path) -> None:
    for floor in (None, 61.5):
        write_kept(tmp_path / "a.npz", replace(BASE, noise_floor_db=floor))
        again = read_kept(tmp_path / "a.npz")
        assert again is not None
        assert np.array_equal(again.frames, FRAMES)
        assert np.array_equal(again.latents, LATENTS)
        assert (again.decoded, again.device, again.noise_floor_db) == (4, "card", floor)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    assert read_kept(tmp_path / "torn.npz") is None
    assert read_kept(tmp_path / "none.npz") is None


def test_a_job_that_names_no_baseline_keeps_nothing(tmp_path: Path) -> None:
    assert against_baseline(tmp_path, JOB, BASE, None).values == {}
    assert not list(tmp_path.iterdir())


def test_a_baseline_is_kept_and_the_next_job_is_compared_with_it(tmp_path: Path) -> None:
    assert against_baseline(tmp_path, BASELINE, BASE, None).values == {"equality": "baseline"}
    job = under(offload="model")
    kept = baseline_of(tmp_path, job)
    assert kept is not None
    assert against_baseline(tmp_path, job, BASE, kept).values["equality"] == "exact"
    assert baseline_of(tmp_path, BASELINE) is None


def test_a_job_ahead_of_its_baseline_is_compared_later(tmp_path: Path) -> None:
    job, mine = under(forward_chunk_size=2), changed(1)
    assert baseline_of(tmp_path, job) is None
    columns = against_baseline(tmp_path, job, mine, None)
    assert "has not run" in columns.notes[0]
    store = Store(tmp_path)
    store.append(Row(job, "ok", values={"total_s": 1.0}, notes=columns.notes))
    assert compare_missing(tmp_path) == []
    write_kept(baseline_path(tmp_path, BASELINE.key), BASE)
    [row] = compare_missing(tmp_path)
    assert row.values["equality"] == "equivalent"
    assert row.values["total_s"] == 1.0
    assert row.notes == []
    assert not waiting_path(tmp_path, job.key).exists()
    assert compare_missing(tmp_path) == []


def test_an_offload_that_changes_a_frame_is_a_fault() -> None:
    columns = judged(under(offload="model"), changed(1), BASE)
    assert "only moves weights" in str(columns.values["fault"])
    assert "FAULT" in columns.notes[0]
    assert "fault" not in judged(under(offload="model"), BASE, BASE).values


def test_a_strategy_that_may_differ_is_none() -> None:
    assert "fault" not in judged(under(split_guidance=True), changed(1), BASE).values


def test_another_decode_is_held_to_its_latents() -> None:
    job = replace(under(offload="model"), decode_chunk_size=2)
    assert "fault" not in judged(job, changed(1, decoded=2), BASE).values
    spoilt = changed(1, decoded=2, latents=LATENTS + 1)
    assert "latents differ" in str(judged(job, spoilt, BASE).values["fault"])
    assert "frames differ" in str(
        judged(job, changed(1, decoded=2), replace(BASE, decoded=2)).values["fault"]
    )


def test_no_fault_is_seen_across_devices_or_below_the_noise_floor() -> None:
    job = under(offload="model")
    elsewhere = judged(job, changed(1, device="other card"), BASE)
    assert "fault" not in elsewhere.values
    assert "another device" in elsewhere.notes[0]
    assert "fault" not in judged(job, changed(1), replace(BASE, noise_floor_db=45.0)).values


def test_what_the_baseline_itself_does_is_not_called_different() -> None:
    far = changed(rng.integers(-40, 41, FRAMES.shape))
    noisy = replace(BASE, noise_floor_db=15.0)
    assert judged(under(unet_weights="fp8"), far, noisy).values["equality"] == "near"


def test_likeness_and_values_a_frame_are_for_those_who_ask_for_the_family() -> None:
    asked = judged(replace(under(), metrics=Metrics(families=["baseline"])), changed(1), BASE)
    spared = judged(replace(under(), metrics=Metrics(families=[])), changed(1), BASE)
    assert len(asked.series["psnr_to_baseline_db"]) == len(asked.series["ssim_to_baseline"]) == 4
    assert not spared.series
    assert asked.values.keys() - spared.values.keys() == {"ssim_to_baseline"}
