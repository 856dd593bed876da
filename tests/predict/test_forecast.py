"""A job that cannot fit by prediction is refused with the figure, when asked for, and only then."""

import pytest

from svdsweep.config import Gpu, Job, Memory, Model
from svdsweep.predict import calibration, forecast
from svdsweep.predict.allowance import NO, TIGHT, YES
from svdsweep.predict.calibration import Calibration
from svdsweep.predict.forecast import Card
from svdsweep.predict.prediction import Prediction, Stage


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


def test_without_a_card_a_limit_or_a_prediction_nothing_is_said():
    assert forecast.fit_of(job(), predicted(3.0), Card()) == ""
    assert forecast.fit_of(job(8.0), None, Card()) == ""


def test_nobody_runs_the_real_models_on_a_cpu_so_only_the_tiny_one_goes_unpredicted():
    assert forecast.runs_on_gpu(job(), ["cpu"])
    assert not forecast.runs_on_gpu(Job(), ["cpu"])
    assert forecast.runs_on_gpu(Job(), ["GPU-1"])


def test_only_what_cannot_fit_is_refused_and_the_row_has_the_figure(monkeypatch, tmp_path):
    small, large = job(16.0), job(8.0)
    monkeypatch.setattr(forecast, "predictions", lambda jobs, compute: {j.key: predicted(9.0) for j in jobs})
    (row,) = forecast.foreseen_oom([small, large], ["cpu"], tmp_path)
    assert row.key == large.key
    assert (row.status, row.values["predicted_vram_gib"]) == ("rejected", 9.0)
    assert "9.0 GiB predicted at its peak, in denoise, and 8.0 GiB are there, 0.5 of them" in row.error


def test_the_smallest_card_counts_and_what_was_fitted_to_it(monkeypatch, tmp_path):
    cards = {"GPU-1": ("NVIDIA H200", 140.0), "GPU-2": ("NVIDIA L4", 22.5)}
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
    assert forecast.card_here([], tmp_path) == Card()
