"""What a prediction says of its stages, by hand, and that it survives being written down."""

import dataclasses
import json

import pytest

from svdsweep.predict.gpus import Gpu, eager_floor_s, floor_s
from svdsweep.predict.prediction import GIB, Alive, Kernel, Prediction, Stage

KERNELS = [
    Kernel("float16", 3 * 10**11, GIB, 2),
    Kernel("memory", 0, GIB // 4, 3),
    Kernel("float32", 10**11, 0, 1),
]
ALIVE = Alive(1.5, (1, 2, 3), "float16", "mm", "unet.conv_in")
DENOISE = Stage(8.0, 2.0, "mm", "unet", [ALIVE], KERNELS, 0.5, 0.25, overlapped=True, host_gib=1.0)
DECODE = Stage(9.5, 0.5, "", "", [], [Kernel("float16", 10**12, 8, 4)], 0.0, 0.0)
PREDICTION = Prediction({"denoise": DENOISE, "vae_decode": DECODE}, ["predicted as the eager run"])


def test_a_stage_counts_each_kernel_as_often_as_it_occurs() -> None:
    assert DENOISE.tflop == 2 * 0.3 + 0.1
    assert DENOISE.moved_gib == 2 * 1 + 3 * 0.25


def test_the_peak_of_a_run_is_that_of_its_highest_stage_and_its_work_that_of_all() -> None:
    assert (PREDICTION.peak_gib, PREDICTION.peak_stage) == (9.5, "vae_decode")
    assert PREDICTION.tflop == DENOISE.tflop + 4
    higher = dataclasses.replace(DENOISE, peak_gib=10.0)
    assert Prediction({"denoise": higher, "vae_decode": DECODE}).peak_stage == "denoise"


def test_a_prediction_comes_back_as_it_was_written() -> None:
    plain = json.loads(json.dumps(dataclasses.asdict(PREDICTION)))
    assert Prediction.from_plain(plain) == PREDICTION


GPU = Gpu("X", 24.0, 100.0, 50.0, 25.0, 1000.0, 10.0, "made up")


def test_a_floor_is_the_work_or_the_transfers_of_each_stage_whichever_takes_longer() -> None:
    fetched_s, decoded_s = 0.5 * GIB / 10e9, 4e12 / 100e12  # the first is more than the products' 0.01 s
    assert floor_s(PREDICTION, GPU) == pytest.approx(fetched_s + decoded_s)
    assert floor_s(Prediction({"denoise": dataclasses.replace(DENOISE, h2d_gib=0.0)}), GPU) == pytest.approx(
        0.01
    )


def test_the_eager_floor_is_each_operations_own_and_transfers_wait_unless_they_have_a_stream() -> None:
    operations_s = 2 * 0.003 + 3 * (GIB / 4 / 1e12) + 0.004
    transfers_s = 0.75 * GIB / 10e9
    assert eager_floor_s(Prediction({"denoise": DENOISE}), GPU) == pytest.approx(transfers_s)
    waits = dataclasses.replace(DENOISE, overlapped=False)
    assert eager_floor_s(Prediction({"denoise": waits}), GPU) == pytest.approx(operations_s + transfers_s)
    still = dataclasses.replace(DENOISE, h2d_gib=0.0, d2h_gib=0.0)
    stages = {"denoise": still, "vae_decode": DECODE}
    assert eager_floor_s(Prediction(stages), GPU) == pytest.approx(operations_s + 0.04)


def test_each_kind_of_kernel_has_its_rate() -> None:
    kinds = ("float16", "float32_convolution", "float32", "float8")
    assert [GPU.flop_per_s(kind) for kind in kinds] == [100e12, 50e12, 25e12, 200e12]
