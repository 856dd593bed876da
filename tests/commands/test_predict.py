import dataclasses
import json
from pathlib import Path

import pytest
from foreseen import made_up

from svdsweep.commands import predict
from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.predict import calibration, here
from svdsweep.predict.allowance import ALLOWANCE
from svdsweep.predict.batch import Outcome, Unpredicted
from svdsweep.predict.calibration import Calibration
from svdsweep.predict.gpus import Gpu, eager_floor_s, floor_s, gpu_named
from svdsweep.predict.prediction import GIB, Kernel, Prediction, Stage, Stretch
from svdsweep.probes import devices
from svdsweep.store.columns import STAGES

pytestmark = pytest.mark.usefixtures("cache_home")


@pytest.fixture(autouse=True)
def no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(jobs: list[Job], processes: int = 1, kind: str = "cuda") -> dict[str, Outcome]:
        by_offload = {"none": made_up(11.0), "model": made_up(7.6)}
        return {j.key: by_offload.get(j.memory.offload, Unpredicted("no such luck")) for j in jobs}

    monkeypatch.setattr(predict, "outcomes", outcomes)


def test_a_table_of_peaks_and_cards_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(["model=svd_xt", "memory=baseline,model_offload,group_offload"]) == 0
    header, baseline, model, *rest = capsys.readouterr().out.splitlines()
    cells = dict(zip(header.replace(" GB", "GB").split(), model.split(), strict=True))
    assert (cells["peak_gib"], cells["8GB"], cells["10GB"]) == ("7.60", "-", "yes")
    assert baseline.startswith("baseline")
    assert "not predicted: no such luck  (group_offload)" in rest


def test_json_tells_units_stages_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    predict.main(["model=svd_xt", "memory=baseline,group_offload", "--json", "--gpu", "rtx4090"])
    one, other = json.loads(capsys.readouterr().out)
    assert one["predicted_vram_gib"] == 11.0
    assert one["fits"]["12 GB"] == "tight"
    assert one["stages"]["denoise"]["operation"] == "add"
    assert one["floor_s"] > 0
    assert other["predicted_vram_gib"] is None
    assert other["reason"] == "no such luck"


def test_details_name_the_place_of_the_peak(capsys: pytest.CaptureFixture[str]) -> None:
    predict.main(["model=svd_xt", "--details"])
    assert "denoise: 11.00 GiB at add in unet" in capsys.readouterr().out


def test_each_figure_stands_under_its_head_in_the_table_the_details_and_the_document() -> None:
    gpu, job = gpu_named("rtx4090"), Job()
    stages = {
        name: Stage(2.0 + i, 0.5 + i, "add", "unet", [], [Kernel("float16", 10**13, 10**10, 2)], 3.0, 1.0)
        for i, name in enumerate(STAGES)
    }
    prediction = Prediction(stages | {"vae_decode": dataclasses.replace(stages["vae_decode"], host_gib=1.5)})
    floors = floor_s(prediction, gpu), eager_floor_s(prediction, gpu)
    assert floors[0] < floors[1] - 0.1
    text = predict.text([job], {job.key: prediction}, gpu, ALLOWANCE, details=True).splitlines()
    cells = dict(zip(text[0].replace(" GB", "GB").split(), text[1].split(), strict=True))
    assert [cells[stage] for stage in STAGES] == ["2.00", "3.00", "4.00", "5.00"]
    assert [cells[name] for name in ("peak_gib", "tflop", "6GB", "floor_s", "eager_floor_s")] == [
        *("5.00", "80", "~", f"{floors[0]:.1f}", f"{floors[1]:.1f}")
    ]
    details = [line for line in text if line.startswith("  ")]
    assert [line.partition(":")[0].strip() for line in details] == [*STAGES]
    assert all("weights" in line and "3.0 GiB from the host, 1.0 GiB back" in line for line in details)
    assert ["GiB of host memory for frames" in line for line in details] == [False, False, False, True]
    told = predict.plain(job, prediction, gpu, ALLOWANCE)
    assert (told["floor_s"], told["eager_floor_s"]) == floors
    assert {name: stage["peak_gib"] for name, stage in told["stages"].items()} == dict(
        zip(STAGES, (2, 3, 4, 5), strict=True)
    )


@pytest.mark.parametrize("ending", ["html", "svg", "png"])
def test_memory_over_time_is_drawn_and_its_peaks_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    held = [Stretch([[GIB, 0, 0, 0, 0], [GIB, 2 * GIB, 0, 0, 0]], "add", "unet.mid_block")]
    stage = Stage(3.0, 1.0, "add", "unet.mid_block", [], [], 0.0, 0.0, over_time=held)
    foreseen = Prediction(dict.fromkeys(STAGES, stage), ["as if it were eager"])
    monkeypatch.setattr(predict, "outcomes", lambda jobs, **_: {job.key: foreseen for job in jobs})
    path = tmp_path / f"memory.{ending}"
    assert predict.main(["model=svd_xt", "memory=baseline,model_offload", "--over-time", str(path)]) == 0
    *_, header, baseline, _, last = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["strategy", "peak_gib", "weights", "activations"]
    assert baseline.split() == [
        *("baseline", "3.00", "1.00", "2.00", "0.00", "0.00", "0.00", "in", "image_encode"),
        *("add", "in", "unet.mid_block"),
    ]
    assert last == f"over time  {path}"
    written = path.read_bytes()
    assert written.startswith({"html": b"<!doctype html>", "svg": b"<?xml", "png": b"\x89PNG"}[ending])
    if ending == "html":
        assert b"as if it were eager" in written
    predict.main(["model=svd_xt", "--json", "--over-time", str(path)])
    (told,) = json.loads(capsys.readouterr().out)
    assert told["stages"]["denoise"]["at_peak_gib"]["activations"] == 2.0
    assert told["stages"]["denoise"]["over_time"][0]["mib"]["activations"] == [0, 2048]


def test_published_rates_are_a_floor_and_measured_ones_nearly_one() -> None:
    gpu = gpu_named("rtx4090")
    for measured_at, words in (("", "No run is faster"), ("2026-01-02", "Hardly a run is faster")):
        assert words in predict.explanation(dataclasses.replace(gpu, measured_at=measured_at), ALLOWANCE)


@pytest.mark.parametrize(
    "argv",
    [
        ["--gqu", "x"],
        ["--gpu"],
        ["--gpu", "abacus"],
        ["no_such_setting=1"],
        ["--over-time", "a.jpg"],
        ["--over-time", "no/a.svg"],
    ],
)
def test_wrong_input_is_a_sentence(argv: list[str]) -> None:
    with pytest.raises(UserError):
        predict.main(argv)


def test_what_measured_sweeps_say_of_a_gpu_counts_for_it_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = {
        "NVIDIA GeForce RTX 4090": Calibration("NVIDIA GeForce RTX 4090", 0.9, 0.5, 0.4, True, 12, 30.0)
    }
    calibration.write(tmp_path / "measured", fitted)
    asked = ["model=svd_xt", "memory=baseline", f"runs_dir='{tmp_path}'", "--json"]
    for flags, needed, on_12_gb in ([], 11.0 * 1.05 + 0.5, "tight"), (["--gpu", "rtx4090"], 11.9, "yes"):
        predict.main([*asked, *flags])
        (one,) = json.loads(capsys.readouterr().out)
        assert one["needed_vram_gib"] == pytest.approx(needed)
        assert one["fits"]["12 GB"] == on_12_gb
    assert "calibration.json" in one["allowance"]
    predict.main([*asked[:-1], "--gpu", "rtx4090"])
    assert "fitted to 12 measured rows of NVIDIA GeForce RTX 4090" in capsys.readouterr().out


def test_the_gpu_at_hand_is_the_measured_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "discover", lambda _: ["GPU-1"])
    monkeypatch.setattr(devices, "gpu_name", lambda _: "NVIDIA L4")
    assert here.gpu_asked("here").basis == "its published rates"
    slow = Gpu("NVIDIA L4", 22.5, 1.0, 0.5, 0.5, 100.0, 10.0, "measured", measured_at="2026-01-02")
    assert here.keep(slow)
    assert here.gpu_asked("here") == slow
    predict.main(["model=svd_xt", "--gpu=here"])
    assert (
        "Seconds on NVIDIA L4 at the rates that svdsweep doctor measured on 2026-01-02"
        in capsys.readouterr().out
    )
    monkeypatch.setattr(devices, "gpu_name", lambda _: "NVIDIA Z9")
    with pytest.raises(UserError, match="svdsweep doctor"):
        here.gpu_asked("here")
    monkeypatch.setattr(devices, "gpu_name", lambda _: None)
    with pytest.raises(UserError, match="no GPU here"):
        here.gpu_asked("here")


def test_the_last_measurement_of_each_gpu_is_kept() -> None:
    one = Gpu("A", 22.5, 1.0, 0.5, 0.5, 100.0, 10.0, "measured", measured_at="2026-01-02")
    other, again = dataclasses.replace(one, title="B"), dataclasses.replace(one, float16_tflops=2.0)
    for gpu in (one, other, again):
        assert here.keep(gpu)
    assert here.measured_gpus() == {"A": again, "B": other}


def test_rates_that_cannot_be_kept_or_read_are_none(cache_home: Path) -> None:
    gpu = Gpu("A", 22.5, 1.0, 0.5, 0.5, 100.0, 10.0, "measured", measured_at="2026-01-02")
    assert here.keep(gpu)
    here.rates_file().write_text("{", encoding="utf-8")
    assert here.measured_gpus() == {}
    here.rates_file().unlink()
    here.rates_file().mkdir()
    assert not here.keep(gpu)
