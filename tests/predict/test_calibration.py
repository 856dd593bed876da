from pathlib import Path

import pytest
from conftest import made_up, under

from svdsweep.config import Job
from svdsweep.predict import cache, calibration
from svdsweep.store import Row


def measured(
    job: Job, peak_gib: float | None, status: str = "ok", gpu: str = "NVIDIA X", **values: float
) -> Row:
    found = {"vram_allocated_peak_gib": peak_gib, "denoise_vram_allocated_peak_gib": peak_gib, **values}
    return Row(job, status, values=found, provenance={"gpu": gpu})


def test_the_constant_covers_nine_rows_of_ten(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    rows = [measured(tiny_job, 10.0 + i / 10) for i in range(1, 11)]
    (fitted,) = calibration.calibrate(rows).values()
    assert fitted.workspace_gib == pytest.approx(0.9)
    assert fitted.constant_gib == pytest.approx(0.9 + calibration.GUESSED_CONTEXT_GIB)
    assert not fitted.context_measured
    assert fitted.rows == 10


def test_the_context_is_what_the_process_used_beyond_its_tensors(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    more = {"vram_process_peak_gib": 11.4, "vram_reserved_peak_gib": 11.0}
    (fitted,) = calibration.calibrate([measured(tiny_job, 10.2, **more)]).values()
    assert fitted.context_gib == pytest.approx(0.4)
    assert fitted.constant_gib == pytest.approx(0.6)


def test_rows_without_prediction_measurement_or_success_do_not_count(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    other = under(tiny_job, offload="model")
    rows = [measured(tiny_job, None), measured(tiny_job, 12.0, "oom"), measured(other, 12.0)]
    assert calibration.calibrate(rows) == {}
    assert calibration.against_measured(rows).empty
    assert calibration.ratios(rows).empty


def test_each_gpu_has_its_own_and_it_is_found_again(tiny_job: Job, tmp_path: Path) -> None:
    cache.keep(tiny_job, made_up(10.0))
    rows = [measured(tiny_job, 10.1, gpu="A"), measured(tiny_job, 10.5, gpu="B")]
    calibration.write(tmp_path, calibration.calibrate(rows))
    assert calibration.constant_of(tmp_path, "A") == pytest.approx(0.6)
    assert calibration.constant_of(tmp_path, "B") == pytest.approx(1.0)
    assert calibration.constant_of(tmp_path, "C") is None
    assert calibration.constant_of(tmp_path / "none", "A") is None


def test_ratios_by_stage_and_strategy(tiny_job: Job) -> None:
    cache.keep(tiny_job, made_up(10.0))
    rows = [measured(tiny_job, 10.5), measured(tiny_job, 11.0)]
    wide = calibration.ratios(rows)
    assert list(wide.columns) == ["gpu", "memory", "denoise", "run"]
    assert wide["denoise"].tolist() == pytest.approx([1.075])
    long = calibration.against_measured(rows)
    assert set(long["stage"]) == {"denoise", "run"}
    assert list(long.columns) == list(calibration.COLUMNS)
