import pytest
from conftest import made_up

from svdsweep.predict import fits, needed_gib, verdict
from svdsweep.predict.gpus import eager_floor_s, floor_s, gpu_named, known_gpus
from svdsweep.schema import UserError


def test_the_allowance_is_the_stated_one() -> None:
    assert needed_gib(made_up(10.0)) == pytest.approx(10.0 * 1.05 + 0.5)
    assert needed_gib(made_up(10.0, "vae_decode")) == pytest.approx(10.0 * 1.15 + 0.5)


def test_a_fitted_constant_replaces_the_allowance() -> None:
    assert needed_gib(made_up(10.0), 0.7) == pytest.approx(10.7)
    assert fits(made_up(10.0), 10.75, 0.7)
    assert not fits(made_up(10.0), 10.65, 0.7)


@pytest.mark.parametrize(
    ("vram", "expected"), [(11.1, "yes"), (10.9, "tight"), (10.6, "tight"), (10.4, "no")]
)
def test_between_surely_and_never_lies_tight(vram: float, expected: str) -> None:
    assert verdict(made_up(10.0), vram) == expected


def test_the_floor_is_work_by_rate() -> None:
    gpu = gpu_named("rtx4090")
    assert floor_s(made_up(1.0), gpu) == pytest.approx(3e12 / 165.2e12)
    assert eager_floor_s(made_up(1.0, flop=1), gpu) == pytest.approx(3e9 / 1008e9)


@pytest.mark.parametrize("name", ["rtx4090", "RTX 4090", "NVIDIA GeForce RTX 4090"])
def test_a_gpu_is_found_by_any_of_its_names(name: str) -> None:
    assert gpu_named(name).title == "GeForce RTX 4090"


def test_a_longer_name_is_not_mistaken_for_a_shorter() -> None:
    assert gpu_named("NVIDIA L40S").title == "NVIDIA L40S"
    assert gpu_named("NVIDIA A100-SXM4-80GB").title == "NVIDIA A100 SXM 80 GB"


def test_an_unknown_gpu_is_told() -> None:
    with pytest.raises(UserError, match="rtx4090"):
        gpu_named("rtx409")


def test_published_rates_are_plausible() -> None:
    for gpu in known_gpus().values():
        assert gpu.float16_tflops >= gpu.tf32_tflops >= gpu.float32_tflops > 0
        assert gpu.source
