"""Classes of equality, kept baselines, late comparisons, and strategies that break their word."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svdsweep.config import Job, Memory, Metrics
from svdsweep.store.rows import Row, Store
from svdsweep.worker.baseline import (
    WAITING,
    Kept,
    against_baseline,
    baseline_of,
    baseline_path,
    compare,
    compare_missing,
    judged,
    pack,
    read_kept,
    unpack,
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
    columns = compare(BASE, BASE)
    assert columns.values == {
        "equality": "exact",
        "bit_equal_to_baseline": True,
        "max_abs_diff_to_baseline": 0,
        "psnr_to_baseline_db": 100.0,
        "psnr_min_to_baseline_db": 100.0,
        "ssim_to_baseline": pytest.approx(1.0),
        "worst_frame": None,
        "latents_max_abs_diff_to_baseline": 0.0,
        "latents_bit_equal_to_baseline": True,
        "latents_error_to_baseline": 0.0,
    }


def some(levels: int, frames: Any = slice(None), rows: int = 32) -> Any:
    by = np.zeros(FRAMES.shape, int)
    by[frames, :rows] = levels
    return by


@pytest.mark.parametrize(
    ("by", "equality", "worst_db"),
    [
        (some(1), "equivalent", 48.13),
        (some(2, 1, 4), "equivalent", 51.14),  # an eighth of a frame
        (some(2, 1), "near", 42.11),
        (some(3, 1, 1), "near", 53.64),
        (some(5), "different", 34.15),
        (some(20, 1), "near", 22.11),
    ],
)
def test_a_class_is_told_by_the_largest_difference_the_worst_frame_and_the_mean(
    by: Any, equality: str, worst_db: float
) -> None:
    flat = replace(BASE, frames=np.full(FRAMES.shape, 128, np.uint8))
    columns = compare(replace(flat, frames=(flat.frames + by).astype(np.uint8)), flat)
    assert columns.values["equality"] == equality
    assert columns.values["psnr_min_to_baseline_db"] == pytest.approx(worst_db, abs=0.01)
    assert columns.values["worst_frame"] == (1 if by[0].max() == 0 else 0)
    assert columns.values["max_abs_diff_to_baseline"] == by.max()


def test_frames_are_near_if_their_likeness_is_too() -> None:
    grey = replace(BASE, frames=np.full(FRAMES.shape, 128, np.uint8))
    noise = np.random.default_rng(1).integers(-3, 4, FRAMES.shape)
    values = compare(replace(grey, frames=(grey.frames + noise).astype(np.uint8)), grey).values
    assert float(str(values["psnr_to_baseline_db"])) > 40
    assert float(str(values["ssim_to_baseline"])) < 0.97
    assert values["equality"] == "different"
    assert compare(changed(noise), BASE).values["equality"] == "near"
    assert compare(changed(some(100)), BASE).values["equality"] == "different"


def test_another_number_of_frames_is_different_and_nothing_else_is_told() -> None:
    columns = compare(replace(BASE, frames=FRAMES[:2]), BASE)
    assert columns.values == {"equality": "different", "bit_equal_to_baseline": False}
    floor = replace(BASE, noise_floor_db=15.0)
    spared = replace(under(split_guidance=True), metrics=Metrics(families=[]))
    assert judged(spared, replace(BASE, frames=FRAMES[:2]), BASE).values == columns.values
    assert (
        judged(under(split_guidance=True), replace(BASE, frames=FRAMES[:2]), floor).values == columns.values
    )


def test_latents_differ_by_their_largest_gap_unless_one_is_not_finite_or_has_no_partner() -> None:
    largest, bits = "latents_max_abs_diff_to_baseline", "latents_bit_equal_to_baseline"
    error = "latents_error_to_baseline"
    assert compare(replace(BASE, latents=LATENTS * 0.75), BASE).values[error] == pytest.approx(0.25)
    latents = LATENTS.copy()
    latents[0, 0, 0, 0, 0] -= 2
    latents[0, 1, 0, 0, 0] += 1
    values = compare(replace(BASE, latents=latents), BASE).values
    assert (values[largest], values[bits]) == (pytest.approx(2), False)
    latents[0, 2, 0, 0, 0] = np.nan
    values = compare(replace(BASE, latents=latents), BASE).values
    assert (values[largest], values[bits], values[error]) == (None, False, None)
    assert not {largest, bits, error} & compare(replace(BASE, latents=LATENTS[:, :2]), BASE).values.keys()


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
    for floor in (None, 61.5, 0.0):
        write_kept(tmp_path / "new" / "a.npz", replace(BASE, noise_floor_db=floor))
        again = read_kept(tmp_path / "new" / "a.npz")
        assert again is not None
        assert np.array_equal(again.frames, FRAMES)
        assert np.array_equal(again.latents, LATENTS)
        assert (again.decoded, again.device, again.noise_floor_db) == (4, "card", floor)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (3, 5, 7, 3), (2, 8, 8, 3)])
def test_any_frames_come_back_and_flat_ones_are_small(shape: tuple[int, ...]) -> None:
    frames = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    frames[0, 0, 0] = 255, 0, 255
    frames[0, -1, 0] = 0, 255, 0  # a difference passes 0 and 255
    assert np.array_equal(unpack(pack(frames), np.array(shape)), frames)
    assert pack(np.full((2, 64, 64, 3), 9, np.uint8)).nbytes < 2 * 64 * 64 * 3 / 7


def test_frames_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", frames=FRAMES, latents=LATENTS, decoded=4, device="card", floor=np.nan
    )
    kept = read_kept(tmp_path / "a.npz")
    assert kept is not None
    assert np.array_equal(kept.frames, FRAMES)


@pytest.mark.parametrize(
    "shape",
    [(4, 32, 32, 4), (4, 32, 31, 3), (-4, 32, -32, 3), (0, 32, 32, 3), (2**20, 2**20, 2**20, 3), (4, 32)],
)
def test_packed_frames_that_claim_another_size_are_not_unpacked(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    odd = {"decoded": 4, "device": "card", "floor": 1.0, "latents": LATENTS}
    np.savez(tmp_path / "a.npz", packed=pack(FRAMES), shape=shape, **odd)
    assert read_kept(tmp_path / "a.npz") is None


def test_frames_lie_where_a_later_version_looks_for_them() -> None:
    assert baseline_path(Path("runs"), "key") == Path("runs/baselines/key.npz")
    assert waiting_path(Path("runs"), "key") == Path("runs/baselines/waiting/key.npz")


def test_what_cannot_be_read_is_not_there(tmp_path: Path) -> None:
    write_kept(tmp_path / "a.npz", BASE)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[:100])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "words.npz").write_bytes(b"no numbers")
    np.savez(tmp_path / "less.npz", frames=FRAMES, latents=LATENTS, decoded=4, device="card")
    odd = {"decoded": 4, "device": "card", "floor": 1.0, "latents": LATENTS}
    np.savez(tmp_path / "shape.npz", frames=FRAMES[0], **odd)
    np.savez(tmp_path / "type.npz", frames=FRAMES.astype(float), **odd)
    np.save(tmp_path / "one.npy", FRAMES)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "a.npz")
    for name in ("torn", "empty", "words", "less", "none", "shape", "type", "one", "link"):
        assert read_kept(tmp_path / f"{name}.npz") is None


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
    assert (columns.values, columns.notes) == ({}, [WAITING])
    assert "has not run" in WAITING
    assert "runner.fresh=true" in WAITING
    store = Store(tmp_path)
    series = {"total_s": [1.0]}
    store.append(Row(replace(job, seed=9), "failed", error="boom"))
    store.append(Row(replace(job, seed=8), "ok"))
    store.append(Row(job, "ok", values={"total_s": 9.0}, series=series, notes=["of the run before"]))
    store.append(Row(job, "ok", 2, values={"total_s": 1.0}, series=series, notes=["warm", WAITING]))
    assert compare_missing(tmp_path, store.rows()) == []
    write_kept(baseline_path(tmp_path, BASELINE.key), BASE)
    write_kept(waiting_path(tmp_path, replace(job, seed=9).key), mine)
    [row] = compare_missing(tmp_path, store.rows())
    assert (row.job, row.status, row.attempt, row.values["equality"]) == (job, "ok", 2, "equivalent")
    assert row.values["total_s"] == 1.0
    assert (row.series["total_s"], row.notes) == ([1.0], ["warm"])
    assert len(row.series["psnr_to_baseline_db"]) == 4
    assert not waiting_path(tmp_path, job.key).exists()
    assert compare_missing(tmp_path, store.rows()) == []


def test_an_offload_that_changes_a_frame_is_a_fault() -> None:
    columns = judged(under(name="any", offload="model", offload_to_disk=True), changed(1), BASE)
    fault = "frames differ from the baseline's, though the strategy only moves weights"
    assert columns.values["fault"] == fault
    assert columns.notes == [f"FAULT of the strategy: {fault}"]
    kept = judged(under(offload="model"), BASE, BASE)
    assert ("fault" in kept.values, kept.notes) == (False, [])
    also = judged(under(offload="model", compile="whole"), changed(1), BASE)
    assert ("fault" in also.values, also.notes) == (False, [])


def test_a_strategy_that_may_differ_is_none() -> None:
    assert "fault" not in judged(under(split_guidance=True), changed(1), BASE).values


def test_another_decode_is_held_to_its_latents() -> None:
    job = replace(under(offload="model"), decode_chunk_size=2)
    assert "fault" not in judged(job, changed(1, decoded=2), BASE).values
    spoilt = changed(1, decoded=2, latents=LATENTS + 1)
    fault = "latents differ from the baseline's, though the strategy only moves weights"
    assert judged(job, spoilt, BASE).values["fault"] == fault
    assert "frames differ" in str(
        judged(job, changed(1, decoded=2), replace(BASE, decoded=2)).values["fault"]
    )


def test_no_fault_is_seen_across_devices() -> None:
    elsewhere = judged(under(offload="model"), changed(1, device="other card"), BASE)
    assert "fault" not in elsewhere.values
    assert elsewhere.notes == ["its baseline ran on another device (card): bits may differ"]


@pytest.mark.parametrize(("floor", "fault"), [(None, True), (100.0, True), (99.9, False), (45.0, False)])
def test_only_a_baseline_that_repeats_itself_convicts(floor: float | None, fault: bool) -> None:
    columns = judged(under(offload="model"), changed(1), replace(BASE, noise_floor_db=floor))
    assert ("fault" in columns.values) is fault


def test_what_the_baseline_itself_does_is_not_called_different() -> None:
    job, far = under(unet_weights="fp8"), changed(rng.integers(-40, 41, FRAMES.shape))
    psnr = float(str(compare(far, BASE).values["psnr_to_baseline_db"]))
    for floor, equality in (
        (psnr, "near"),
        (psnr + 0.1, "different"),
        (psnr - 1, "near"),
        (None, "different"),
    ):
        assert judged(job, far, replace(BASE, noise_floor_db=floor)).values["equality"] == equality
    said = "as far from its baseline as that is from its own repetition (15.0 dB)"
    assert judged(job, far, replace(BASE, noise_floor_db=15.0)).notes == [said]
    exact = judged(job, changed(1), replace(BASE, noise_floor_db=15.0))
    assert (exact.values["equality"], exact.notes) == ("equivalent", [])


def test_likeness_and_values_a_frame_are_for_those_who_ask_for_the_family() -> None:
    asked = judged(replace(under(), metrics=Metrics(families=["baseline"])), changed(1), BASE)
    spared = judged(replace(under(), metrics=Metrics(families=[])), changed(1), BASE)
    assert len(asked.series["psnr_to_baseline_db"]) == len(asked.series["ssim_to_baseline"]) == 4
    assert not spared.series
    assert asked.values.keys() - spared.values.keys() == {"ssim_to_baseline"}
