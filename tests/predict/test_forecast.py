"""A job that cannot fit by prediction is refused with the figure, when asked for, and only then."""

import pytest

from svdsweep.config import Gpu, Job, Memory, Model
from svdsweep.predict import calibration, forecast
from svdsweep.predict.allowance import NO, TIGHT, YES
from svdsweep.predict.calibration import Calibration
from svdsweep.predict.forecast import Card
from svdsweep.predict.prediction import Prediction, Stage
from svdsweep.store.rows import Row


def predicted(peak_gib):
    stage = Stage(peak_gib, 1.0, "add", "up_blocks.3", [], [], 0.0, 0.0)
    return Prediction({"denoise": stage, "vae_decode": Stage(1.0, 0.5, "", "", [], [], 0.0, 0.0)})


def job(limit_gib=None, name="baseline"):
    return Job(
        model=Model(architecture="svd_xt", weights="random"), gpu=Gpu(limit_gib), memory=Memory(name=name)
    )


@pytest.mark.parametrize(("peak_gib", "said"), [(3.0, YES), (7.4, TIGHT), (9.0, NO)])
def test_a_job_fits_its_limit_or_the_smaller_card(peak_gib, said):
    assert forecast.fit_of(job(8.0), predicted(peak_gib), Card(gib=24.0)) == said
    assert forecast.fit_of(job(), predicted(peak_gib), Card(gib=8.0)) == said
    assert forecast.fit_of(job(24.0), predicted(peak_gib), Card(gib=8.0)) == said


def test_without_a_card_a_limit_or_a_prediction_nothing_is_said():
    assert forecast.fit_of(job(), predicted(3.0), Card()) == ""
    assert forecast.fit_of(job(8.0), None, Card()) == ""


def test_nobody_runs_the_real_models_on_a_cpu_so_only_the_tiny_one_goes_unpredicted():
    assert forecast.runs_on_gpu(job(), ["cpu"])
    assert not forecast.runs_on_gpu(Job(), ["cpu"])
    assert forecast.runs_on_gpu(Job(gpu=Gpu(8.0)), ["cpu"])
    assert forecast.runs_on_gpu(Job(), ["GPU-1"])
    assert forecast.runs_on_gpu(Job(), ["cpu", "GPU-1"])
    assert [forecast.kind_of(devices) for devices in (["cpu"], ["GPU-1"])] == ["cpu", "cuda"]


def test_only_what_cannot_fit_is_refused_and_the_row_has_the_figure(monkeypatch, tmp_path):
    small, tight, large, tiny, unknown = job(16.0), job(9.5), job(8.0), Job(), job(4.0)
    asked = []

    def predictions(jobs, compute):
        asked.append((jobs, compute))
        return {j.key: predicted(9.0) for j in jobs if j is not unknown}

    monkeypatch.setattr(forecast, "predictions", predictions)
    (row,) = forecast.foreseen_oom([small, tight, large, tiny, unknown], ["cpu"], tmp_path)
    assert asked == [([small, tight, large, unknown], True)]
    error = (
        "9.0 GiB predicted at its peak, in denoise, and 8.0 GiB are there, 0.5 of them for the CUDA context; "
        "runner.retry=[rejected] without runner.skip_predicted_oom runs it all the same"
    )
    assert row == Row(large, "rejected", 1, error, "load", {"predicted_vram_gib": 9.0})


def test_a_card_too_small_refuses_what_a_larger_limit_allows(monkeypatch, tmp_path):
    monkeypatch.setattr(forecast, "predictions", lambda jobs, compute: {j.key: predicted(9.0) for j in jobs})
    monkeypatch.setattr(forecast, "vram_gib", lambda device: 8.0)
    monkeypatch.setattr(forecast, "gpu_name", lambda device: "A")
    calibration.write(tmp_path / "done", {"A": Calibration("A", 0.2, 0.0, 0.2, True, 9, 30.0)})
    (row,) = forecast.foreseen_oom([job(16.0)], ["GPU-1"], tmp_path / "planned")
    assert "and 8.0 GiB are there, 0.2 of them" in row.error


def test_the_smallest_card_counts_and_what_was_fitted_to_it(monkeypatch, tmp_path):
    cards = {"GPU-1": ("NVIDIA H200", 140.0), "GPU-2": ("NVIDIA L4", 22.5), "GPU-3": ("unknown", None)}
    monkeypatch.setattr(forecast, "gpu_name", lambda device: cards[device][0])
    monkeypatch.setattr(forecast, "vram_gib", lambda device: cards[device][1])
    for name, constant in (("NVIDIA L4", 0.3), ("NVIDIA H200", 0.9)):
        calibration.write(
            tmp_path / "done", {name: Calibration(name, constant, 0.0, constant, True, 9, 30.0)}
        )
    card = forecast.card_here(list(cards), tmp_path / "planned")
    assert (card.name, card.gib, card.allowance.context_gib) == ("NVIDIA L4", 22.5, 0.3)
    assert forecast.fit_of(job(), predicted(22.1), card) == YES
    assert forecast.fit_of(job(), predicted(22.1), Card(gib=22.5)) == NO
    assert "9 measured rows of NVIDIA L4" in card.allowance.words
    assert forecast.card_here([], tmp_path) == forecast.card_here(["GPU-3"], tmp_path) == Card()
