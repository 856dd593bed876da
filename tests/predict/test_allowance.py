import dataclasses
from pathlib import Path

import pytest
from foreseen import made_up

from svdsweep.errors import UserError
from svdsweep.predict import calibration
from svdsweep.predict.allowance import (
    ALLOWANCE,
    NO,
    TIGHT,
    YES,
    Allowance,
    allowance_for,
    fits,
    needed_gib,
    verdict,
)
from svdsweep.predict.calibration import Calibration
from svdsweep.predict.gpus import eager_floor_s, floor_s, gpu_named, known_gpus, same_gpu
from svdsweep.predict.prediction import Prediction


def test_the_allowance_is_the_stated_one() -> None:
    assert needed_gib(made_up(10.0)) == pytest.approx(10.0 * 1.05 + 0.5)
    assert needed_gib(made_up(10.0, "vae_decode")) == pytest.approx(10.0 * 1.15 + 0.5)


def test_a_fitted_constant_replaces_the_allowance_for_its_gpu_alone(tmp_path: Path) -> None:
    fitted = {
        "NVIDIA GeForce RTX 4090": Calibration("NVIDIA GeForce RTX 4090", 0.7, 0.3, 0.4, True, 12, 30.0)
    }
    calibration.write(tmp_path / "runs" / "a", fitted)
    allowance = allowance_for("GeForce RTX 4090", tmp_path / "runs" / "b")
    assert needed_gib(made_up(10.0), allowance) == pytest.approx(10.7)
    assert fits(made_up(10.0), 10.75, allowance)
    assert not fits(made_up(10.0), 10.65, allowance)
    path = tmp_path / "runs" / "a" / "calibration.json"
    assert allowance.words == (
        f"0.70 GiB for context and workspaces, fitted to 12 measured rows of NVIDIA GeForce RTX 4090 ({path}), for "
        "peaks up to 30.0 GiB as measured there; above, with 0.5 GiB for the CUDA context and 5% of the peak (15% in "
        "the decode) for workspaces and fragmentation, fitted to no measurement"
    )
    assert allowance.least_gib == ALLOWANCE.least_gib == 0.5
    assert verdict(made_up(10.0), 10.6, allowance) == "tight"
    assert allowance_for("NVIDIA L4", tmp_path / "runs" / "b") == ALLOWANCE
    assert allowance_for(None, tmp_path / "runs" / "b") == ALLOWANCE
    assert "fitted to no measurement" in ALLOWANCE.words


def test_what_is_larger_than_all_that_was_measured_gets_the_stated_allowance(tmp_path: Path) -> None:
    calibration.write(tmp_path / "a", {"A": Calibration("A", 0.2, 0.0, 0.2, True, 1, 10.0)})
    allowance = allowance_for("A", tmp_path / "a")
    file = tmp_path / "a" / "calibration.json"
    assert allowance == Allowance(0.2, 0.0, 0.0, f"1 measured row of A ({file})", 10.0)
    assert needed_gib(made_up(10.0), allowance) == pytest.approx(10.2)
    assert needed_gib(made_up(10.1), allowance) == needed_gib(made_up(10.1))
    assert "up to 10.0 GiB" in allowance.words


def test_a_process_takes_less_than_the_stated_context_where_that_was_measured(tmp_path: Path) -> None:
    calibration.write(tmp_path / "a", {"A": Calibration("A", 0.2, 0.0, 0.2, True, 12, 30.0)})
    assert verdict(made_up(10.0), 10.3, allowance_for("A", tmp_path / "a")) == "yes"
    assert verdict(made_up(10.0), 10.3) == "no"


@pytest.mark.parametrize(
    ("vram", "expected"), [(11.1, "yes"), (10.9, "tight"), (10.6, "tight"), (10.4, "no")]
)
def test_between_surely_and_never_lies_tight(vram: float, expected: str) -> None:
    assert verdict(made_up(10.0), vram) == expected


def test_what_just_fits_fits() -> None:
    halves = Allowance(context_gib=0.5, share=0.25, decode_share=0.5)
    stages = made_up(8.0).stages | {
        "vae_decode": dataclasses.replace(made_up(8.0).stages["denoise"], peak_gib=6.0)
    }
    prediction = Prediction(stages)
    assert needed_gib(prediction, halves) == 8.0 * 1.25 + 0.5
    assert needed_gib(made_up(8.0, "vae_decode"), halves) == 8.0 * 1.5 + 0.5
    said = [verdict(prediction, vram_gib, halves) for vram_gib in (10.5, 10.499, 8.5, 8.499)]
    assert said == [YES, TIGHT, TIGHT, NO]
    assert [fits(prediction, vram_gib, halves) for vram_gib in (10.5, 10.499)] == [True, False]
    assert fits(made_up(8.0), 9.0)
    assert not fits(made_up(8.0), 8.8)


def test_the_floor_is_work_by_rate() -> None:
    gpu = gpu_named("rtx4090")
    assert floor_s(made_up(1.0), gpu) == pytest.approx(3e12 / 165.2e12)
    assert eager_floor_s(made_up(1.0, flop=1), gpu) == pytest.approx(3e9 / 1008e9)


@pytest.mark.parametrize("name", ["rtx4090", "RTX 4090", "NVIDIA GeForce RTX 4090"])
def test_a_gpu_is_found_by_any_of_its_names(name: str) -> None:
    assert gpu_named(name).title == "GeForce RTX 4090"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80 GB"),
        ("NVIDIA A100-PCIE-40GB", "NVIDIA A100 40 GB"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM 80 GB"),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe 80 GB"),
        ("Tesla V100-SXM2-16GB", "NVIDIA V100 SXM2 16 GB"),
    ],
)
def test_a_longer_name_is_not_mistaken_for_a_shorter(name: str, title: str) -> None:
    assert gpu_named(name).title == title
    assert same_gpu(name, title)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 3080 Ti",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA L40",
        "NVIDIA A10G",
        "rtx409",
    ],
)
def test_a_gpu_that_is_not_in_the_table_is_no_other_one(name: str) -> None:
    with pytest.raises(UserError):
        gpu_named(name)
    assert same_gpu(name, name)
    assert not same_gpu(name, "rtx4090")


@pytest.mark.parametrize("word", ["SUPER", "Ti", "D", "Laptop", "Mobile", "Max-Q", "NVL", "MIG 1g.10gb"])
def test_a_word_behind_a_name_makes_it_another_gpu(word: str) -> None:
    assert not same_gpu(f"NVIDIA GeForce RTX 4080 {word}", "rtx4080")


def test_an_unknown_gpu_is_told() -> None:
    with pytest.raises(UserError, match="rtx4090"):
        gpu_named("rtx409")


def test_published_rates_are_plausible() -> None:
    for gpu in known_gpus().values():
        assert gpu.float16_tflops >= gpu.tf32_tflops >= gpu.float32_tflops > 0
        assert gpu.source
        assert gpu.checked


def test_products_of_fp8_run_at_twice_the_rate_of_half_precision() -> None:
    gpu = gpu_named("h200")
    assert gpu.flop_per_s("float8") == 2 * gpu.flop_per_s("float16")
