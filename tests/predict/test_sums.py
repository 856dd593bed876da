"""What a prediction says of its stages, by hand, and that it survives being written down."""

import dataclasses
import json

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
