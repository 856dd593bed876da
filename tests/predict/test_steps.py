"""A prediction of fewer steps is what the simulation of as many gives, and as many as fit a time are found."""

import dataclasses

import pytest

from svdsweep.grid.expand import expand_without_weights
from svdsweep.predict.batch import simulate_group
from svdsweep.predict.gpus import eager_floor_s, gpu_named
from svdsweep.predict.prediction import Kernel, Prediction, Stage
from svdsweep.predict.steps import most_steps, with_steps

GPU = gpu_named("rtx4090")


def predicted(*settings):
    grid = ["model=tiny", "num_frames=4", "num_inference_steps=8", "decode_chunk_size=all", *settings]
    (job,) = expand_without_weights(grid).jobs
    (prediction,) = simulate_group([job]).values()
    return job, prediction


@pytest.mark.parametrize("memory", ["baseline", "model_offload", "sequential_offload"])
def test_fewer_steps_cost_what_their_own_simulation_says(memory):
    job, whole = predicted(f"memory={memory}")
    _, fewer = predicted(f"memory={memory}", "memory.denoise_steps=3", "memory.sigmas=ays")
    ours = with_steps(whole, job, 3)
    assert ours.peak_gib == fewer.peak_gib
    assert ours.tflop == pytest.approx(fewer.tflop)
    assert ours.stages["denoise"].h2d_gib == pytest.approx(fewer.stages["denoise"].h2d_gib)
    assert eager_floor_s(ours, GPU) == pytest.approx(eager_floor_s(fewer, GPU))


@pytest.fixture
def one():
    """A job of 25 steps, each at least a tenth of a second, with a second of other work."""
    (job,) = expand_without_weights(["model=svd_xt", "num_inference_steps=25"]).jobs
    tenth = int(GPU.float16_tflops * 1e11)

    def stage(count):
        return Stage(1.0, 0.0, "", "", [], [Kernel("float16", tenth, 1, count)], 0.0, 0.0)

    return job, Prediction({"denoise": stage(25), "vae_decode": stage(10)})


@pytest.mark.parametrize(
    ("seconds", "steps"), [(99, 25), (3.55, 25), (3.45, 24), (1.95, 9), (1.15, 1), (1.05, 0), (0.5, -5)]
)
def test_as_many_steps_as_fit_a_time(one, seconds, steps):
    job, prediction = one
    assert most_steps(prediction, job, GPU, seconds) == steps


def test_schedulers_of_two_calls_a_step_count_calls(one):
    job, prediction = one
    heun = dataclasses.replace(job, model=dataclasses.replace(job.model, scheduler="heun"))
    stage = prediction.stages["denoise"]
    twice = dataclasses.replace(stage, kernels=[dataclasses.replace(stage.kernels[0], count=49)])
    doubled = Prediction(prediction.stages | {"denoise": twice})
    assert most_steps(doubled, heun, GPU, 1.95) == 9
    assert with_steps(doubled, heun, 9).stages["denoise"].kernels[0].count == 9
