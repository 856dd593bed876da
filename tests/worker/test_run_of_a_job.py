"""What a job runs with, what it shares with jobs before it, and when a pipeline is warm: without a pipeline."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from settings import SETTINGS, with_another

from svdsweep.config import Gpu, Image, Job
from svdsweep.config import Measure as Repeats
from svdsweep.probes.stages import Timing
from svdsweep.store.columns import STAGES
from svdsweep.store.measurements import Measurements
from svdsweep.worker import run as run_module
from svdsweep.worker.measuring import Measured, Output
from svdsweep.worker.run import Loaded, Progress, Run, begin

JOB = Job(image=Image(path="rocket.jpg"), num_frames=4, width=96, decode_chunk_size=2)
SVD = SimpleNamespace(
    vae=SimpleNamespace(config=SimpleNamespace(block_out_channels=(128,)), dtype=torch.float16)
)
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def nothing_to_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """To collect garbage before each job takes a second in a process that has imported all libraries."""
    monkeypatch.setattr(run_module, "_clear", lambda *_: None)


def begun(job: Job, loaded: Loaded | None = None, device: torch.device = CPU) -> Run:
    progress = Progress(lambda *_: None)
    return begin(job, loaded or Loaded("", SVD, 1.0, 0, None), device, progress, Measurements())


def test_the_picture_is_as_wide_and_as_high_as_the_video() -> None:
    assert begun(JOB).setup.picture.size == (96, 64)


@pytest.mark.parametrize(("gpu", "frames"), [(Gpu(), 9), (Gpu(memory_limit_gib=8.5), 6)])
def test_auto_decodes_what_fits_the_free_memory_and_the_cap(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, frames: int
) -> None:
    """At 576×1024 nine frames fit 12 GiB and six 8; what is held already counts against the cap alone."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (12 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2**29)
    job = replace(JOB, num_frames=25, height=576, width=1024, decode_chunk_size="auto", gpu=gpu)
    run = begun(job, device=GPU)
    assert run.setup.chunk == run.measurements.values["decode_frames"] == frames


Measure = Callable[[Job], tuple[bool, dict[str, Any]]]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measures one job after the other on a pipeline that computes nothing: was it cold for the job, and its values."""
    loaded, cold = Loaded("", SVD, 1.0, 0, None), []
    timing = Timing(4.0, dict.fromkeys(STAGES, 1.0), [0.5, 0.5], dict.fromkeys(STAGES))
    output = Output(np.zeros((1, 8, 8, 3), np.float32), torch.zeros(1), timing)

    def nothing(*told: Any) -> Measured:
        cold.append(told[-1])
        return Measured(output, output, [timing])

    answers = {"measure": nothing, "measure_decode": nothing, "run_once": lambda *_: output}
    answers |= dict.fromkeys(("open_image", "check_after_run"), lambda *_: None)
    for name, answer in answers.items():
        monkeypatch.setattr(run_module, name, answer)
    monkeypatch.setattr(run_module.vram, "host_peak_gib", lambda: None)

    def measured(job: Job) -> tuple[bool, dict[str, Any]]:
        run = begun(job, loaded)
        run.noise_floor_db(run.measure())
        return cold[-1], run.measurements.values

    return measured


def test_a_pipeline_is_warm_for_a_shape_and_cold_for_every_other(measure: Measure) -> None:
    measure(JOB)
    others = {name: with_another(JOB, name) for name in SETTINGS}
    others["max_guidance_scale"] = replace(JOB, max_guidance_scale=1.0)
    same_pipeline = {name: job for name, job in others.items() if job.pipeline_key == JOB.pipeline_key}
    cold = {name for name, job in same_pipeline.items() if measure(job)[0]}
    assert cold == {"num_frames", "height", "width", "decode_chunk_size", "max_guidance_scale"}
    assert not any(measure(job)[0] for job in same_pipeline.values())


def test_only_jobs_that_differ_in_their_decode_or_in_how_they_are_judged_share_a_denoise(
    measure: Measure,
) -> None:
    measure(JOB)
    others = {name: replace(with_another(JOB, name), decode_chunk_size=1) for name in SETTINGS}
    shared = {name for name, job in others.items() if "latency_shared_with" in measure(job)[1]}
    assert shared == {"decode_chunk_size", "metrics.families", "measure.noise_floor"}


def test_the_noise_floor_is_found_for_each_shape_of_a_baseline(measure: Measure) -> None:
    jobs = {"": JOB, **{name: with_another(JOB, name) for name in SETTINGS}}
    baselines = {name: replace(job, baseline=job.key) for name, job in jobs.items()}
    found = {name for name, job in baselines.items() if "noise_floor_psnr_db" in measure(job)[1]}
    assert found == {"", "num_frames", "height", "width", "decode_chunk_size"}


def test_shared_latents_are_decoded_as_often_as_their_denoise_was_timed(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_module.measure
    timed = whole(None, None, True)
    monkeypatch.setattr(run_module, "measure", lambda *_: replace(timed, timings=timed.timings * 3))
    repeats = []

    def decoded(_setup: Any, _latents: Any, times: int, *_: Any) -> Measured:
        repeats.append(times)
        return replace(timed, timings=timed.timings * times)

    monkeypatch.setattr(run_module, "measure_decode", decoded)
    measure(replace(JOB, measure=Repeats(within=0.01)))
    measure(replace(JOB, measure=Repeats(within=0.01), decode_chunk_size=1))
    assert repeats == [3]
