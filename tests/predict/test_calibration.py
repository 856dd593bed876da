import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from foreseen import made_up, under

from svdsweep.config import Job
from svdsweep.predict import cache, calibration
from svdsweep.predict.calibration import Calibration, fitted_to
from svdsweep.store.rows import Row


def measured(
    job: Job, peak_gib: float | None, status: str = "ok", gpu: str | None = "NVIDIA X", **more: float
) -> Row:
    values = {"vram_allocated_peak_gib": peak_gib, "denoise_vram_allocated_peak_gib": peak_gib, **more}
    return Row(job, status, values=values, provenance={"gpu": gpu})


def calibrate(rows: Sequence[Row]) -> dict[str, Calibration]:
    return calibration.calibrate(calibration.predicted(calibration.measured(rows))[0])


def test_the_constant_covers_nine_rows_of_ten(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    rows = [measured(tiny_job, 10.0 + i / 10) for i in range(1, 11)]
    (fitted,) = calibrate(rows).values()
    assert fitted.workspace_gib == pytest.approx(0.9)
    assert fitted.constant_gib == pytest.approx(0.9 + calibration.GUESSED_CONTEXT_GIB)
    assert not fitted.context_measured
    assert (fitted.rows, fitted.largest_gib) == (10, 10.0)


def test_the_context_is_what_the_process_used_beyond_its_tensors(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    more = {"vram_process_peak_gib": 11.4, "vram_reserved_peak_gib": 11.0}
    (fitted,) = calibrate([measured(tiny_job, 10.2, **more)]).values()
    assert fitted.context_gib == pytest.approx(0.4)
    assert fitted.constant_gib == pytest.approx(0.6)


def test_only_successes_on_a_gpu_that_counted_are_measured(tiny_job: Job) -> None:
    good = measured(tiny_job, 12.0)
    none = [measured(tiny_job, None), measured(tiny_job, 12.0, "oom"), measured(tiny_job, 12.0, gpu=None)]
    assert calibration.measured([good, *none]) == [good]


def test_each_row_meets_the_prediction_of_its_own_settings(tiny_job: Job) -> None:
    larger, unknown = dataclasses.replace(tiny_job, height=128), under(tiny_job, offload="model")
    for_all, auto = (dataclasses.replace(tiny_job, decode_chunk_size=chunk) for chunk in ("all", "auto"))
    cache.keep(tiny_job, made_up(10.0))
    cache.keep(larger, made_up(20.0))
    cache.keep(for_all, made_up(30.0))
    rows = [measured(job, 9.0) for job in (tiny_job, larger, unknown, for_all, auto, tiny_job)]
    pairs, unpredicted = calibration.predicted(rows)
    peaks = [(row.job, prediction.peak_gib) for row, prediction in pairs]
    assert peaks == [(tiny_job, 10.0), (larger, 20.0), (for_all, 30.0), (tiny_job, 10.0)]
    assert unpredicted == [unknown]


def test_what_was_predicted_as_something_else_is_shown_but_fits_no_constant(tiny_job: Job) -> None:
    cache.keep(tiny_job, dataclasses.replace(made_up(10.0), notes=["predicted as the eager run"]))
    pairs, _ = calibration.predicted([measured(tiny_job, 12.0)])
    assert calibration.calibrate(pairs) == {}
    assert not calibration.against_measured(pairs).empty


def test_each_gpu_has_its_own_and_it_is_found_again_by_any_of_its_names(
    tiny_job: Job, tmp_path: Path
) -> None:
    cache.keep(tiny_job, made_up(10.0))
    rows = [measured(tiny_job, 10.1, gpu="A"), measured(tiny_job, 10.5, gpu="NVIDIA GeForce RTX 4090")]
    calibration.write(tmp_path / "sweep", calibrate(rows))
    a, card = (fitted_to(name, tmp_path / "sweep") for name in ("A", "rtx4090"))
    assert a is not None
    assert card is not None
    assert a[0].constant_gib == pytest.approx(0.6)
    assert card[0].constant_gib == pytest.approx(1.0)
    assert card[1] == tmp_path / "sweep" / "calibration.json"
    assert fitted_to("NVIDIA GeForce RTX 4090 D", tmp_path / "sweep") is None
    assert fitted_to("A", tmp_path / "else" / "where") is None


def test_a_sweep_uses_its_own_constant_else_the_latest_beside_it(tmp_path: Path) -> None:
    for age, (name, constant) in enumerate({"new": 0.3, "old": 0.2, "own": 0.1}.items()):
        calibration.write(tmp_path / name, {"A": Calibration("A", constant, constant, 0.0, True, 4, 30.0)})
        os.utime(tmp_path / name / calibration.FILE, (1e9 - age, 1e9 - age))
    fittings = [fitted_to("A", tmp_path / name) for name in ("own", "none")]
    assert [fitting and fitting[0].constant_gib for fitting in fittings] == [0.1, 0.3]


def test_a_gpu_that_was_not_fitted_anew_stays_and_damage_is_no_calibration(tmp_path: Path) -> None:
    for gpu in ("A", "B"):
        calibration.write(tmp_path, {gpu: Calibration(gpu, 0.5, 0.1, 0.4, True, 4, 30.0)})
    calibration.write(tmp_path, {})
    assert set(calibration.read(tmp_path)) == {"A", "B"}
    for damage in ("{", "[]", json.dumps({"A": {"constant_gib": 1}}), json.dumps({"A": 3})):
        (tmp_path / calibration.FILE).write_text(damage)
        assert calibration.read(tmp_path) == {}


def test_a_line_for_each_row_and_stage_that_was_measured(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    pairs, _ = calibration.predicted([measured(tiny_job, 10.5)])
    long = calibration.against_measured(pairs)
    assert list(long.columns) == list(calibration.COLUMNS)
    assert dict(zip(long["stage"], long["ratio"], strict=True)) == pytest.approx(
        {"denoise": 1.05, "run": 1.05}
    )
