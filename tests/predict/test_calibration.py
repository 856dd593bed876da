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
    job: Job, peak_gib: float | None, status: str = "ok", gpu: str | None = "NVIDIA X", **more: float | None
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


@pytest.mark.parametrize(("rows", "covered"), [(1, 1), (2, 2), (9, 9), (10, 9), (11, 10), (20, 18), (21, 19)])
def test_nine_rows_of_ten_are_at_least_nine_of_ten(tiny_job: Job, rows: int, covered: int) -> None:
    pairs = [(measured(tiny_job, 10.0 + i / 4), made_up(10.0)) for i in range(rows, 0, -1)]
    assert calibration.calibrate(pairs)["NVIDIA X"].workspace_gib == covered / 4


def test_what_holds_less_than_predicted_needs_no_workspace_and_the_largest_prediction_is_told(
    tiny_job: Job,
) -> None:
    pairs = [(measured(tiny_job, 7.5), made_up(peak)) for peak in (8.0, 9.0, 7.75)]
    assert calibration.calibrate(pairs)["NVIDIA X"] == Calibration("NVIDIA X", 0.5, 0.0, 0.5, False, 3, 9.0)


def test_the_context_is_the_middle_of_what_processes_used_beyond_their_reserved_memory(tiny_job: Job) -> None:
    used = [(11.75, 11.0), (11.25, 11.0), (13.0, 12.0), (11.0, 11.0), (9.0, 11.0), (None, 11.0), (14.0, None)]
    rows = [
        measured(tiny_job, 10.25, vram_process_peak_gib=process, vram_reserved_peak_gib=reserved)
        for process, reserved in used
    ]
    fitted = calibration.calibrate((row, made_up(10.0)) for row in rows)
    assert fitted == {"NVIDIA X": Calibration("NVIDIA X", 1.0, 0.25, 0.75, True, len(used), 10.0)}


def test_only_successes_on_a_gpu_that_counted_are_measured(tiny_job: Job) -> None:
    good, whole = measured(tiny_job, 12.0), measured(tiny_job, 12)
    none = [measured(tiny_job, None), measured(tiny_job, 12.0, "oom"), measured(tiny_job, 12.0, gpu=None)]
    assert calibration.measured([good, *none, measured(tiny_job, True), whole]) == [good, whole]


def test_each_row_meets_the_prediction_of_its_own_settings_which_is_looked_up_once(
    tiny_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    larger = dataclasses.replace(tiny_job, height=128)
    jobs = [
        tiny_job,
        larger,
        under(tiny_job, offload="model"),
        *(
            dataclasses.replace(tiny_job, **own)
            for own in (
                {"width": 128},
                {"num_frames": 5},
                {"num_inference_steps": 5},
                {"decode_chunk_size": "all"},
                {"max_guidance_scale": 1.0},
                {"model": dataclasses.replace(tiny_job.model, dtype="bfloat16")},
            )
        ),
    ]
    for peak, job in enumerate(jobs):
        cache.keep(job, made_up(10.0 + peak))
    auto, guided = (
        dataclasses.replace(tiny_job, **own)
        for own in ({"decode_chunk_size": "auto"}, {"max_guidance_scale": 1.25})
    )
    unknown, again = (dataclasses.replace(tiny_job, height=256, seed=seed) for seed in (0, 1))
    asked: list[Job] = []
    known = cache.known
    monkeypatch.setattr(cache, "known", lambda job: asked.append(job) or known(job))
    rows = [measured(job, 9.0) for job in (*jobs, unknown, auto, again, tiny_job, guided)]
    pairs, unpredicted = calibration.predicted(rows)
    peaks = [(row.job, prediction.peak_gib) for row, prediction in pairs]
    own = [(job, 10.0 + peak) for peak, job in enumerate(jobs)]
    assert peaks == [*own, (tiny_job, 10.0), (guided, 10.0)]
    assert unpredicted == [unknown]
    assert asked == [*jobs, unknown]


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
    newer = Calibration("A", 0.25, 0.0, 0.25, True, 5, 31.0)
    calibration.write(tmp_path, {"A": newer})
    kept = Calibration("B", 0.5, 0.1, 0.4, True, 4, 30.0)
    assert calibration.read(tmp_path) == {"A": newer, "B": kept}
    path = tmp_path / "calibration.json"
    text = json.dumps({"A": dataclasses.asdict(newer), "B": dataclasses.asdict(kept)}, indent=1) + "\n"
    assert path.read_text(encoding="utf-8") == text
    for damage in ("{", "[]", json.dumps({"A": {"constant_gib": 1}}), json.dumps({"A": 3})):
        path.write_text(damage, encoding="utf-8")
        assert calibration.read(tmp_path) == {}
    path.write_text(text.replace("0.25", '"a quarter"', 1).replace("0.5", "1"), encoding="utf-8")
    assert calibration.read(tmp_path) == {"B": dataclasses.replace(kept, constant_gib=1)}
    calibration.write(tmp_path / "nowhere", {})
    assert not (tmp_path / "nowhere").exists()


def test_a_line_for_each_row_and_stage_that_was_measured(tiny_job: Job) -> None:
    row = measured(under(tiny_job, name="mine"), 10.5, vae_encode_vram_allocated_peak_gib=0.2)
    nothing = dataclasses.replace(made_up(10.0).stages["denoise"], peak_gib=0.0)
    tiny = dataclasses.replace(made_up(10.0), stages=made_up(10.0).stages | {"image_encode": nothing})
    also = measured(
        dataclasses.replace(tiny_job, decode_chunk_size="auto"), 11, image_encode_vram_allocated_peak_gib=1.0
    )
    long = calibration.against_measured([(row, made_up(10.0)), (also, tiny)])
    assert list(long.columns) == list(calibration.COLUMNS)
    assert [tuple(line) for line in long.to_numpy()] == [
        (row.key, "NVIDIA X", "mine", 2, "vae_encode", 0.1, 0.2, 2.0),
        (row.key, "NVIDIA X", "mine", 2, "denoise", 10.0, 10.5, 1.05),
        (row.key, "NVIDIA X", "mine", 2, "run", 10.0, 10.5, 1.05),
        (also.key, "NVIDIA X", "baseline", 1, "denoise", 10.0, 11.0, 1.1),
        (also.key, "NVIDIA X", "baseline", 1, "run", 10.0, 11.0, 1.1),
    ]
