"""What a job runs with, what it shares with jobs before it, and when a pipeline is warm: without a pipeline."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from settings import SETTINGS, with_another

from svdsweep.config import Gpu, Image, Job, Memory
from svdsweep.config import Measure as Repeats
from svdsweep.probes.nvml import State
from svdsweep.probes.stages import Timing
from svdsweep.probes.vram import Peak
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
CLEAR = run_module._clear


@pytest.fixture(autouse=True)
def nothing_to_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """To collect garbage before each job takes a second in a process that has imported all libraries."""
    monkeypatch.setattr(run_module, "_clear", lambda *_: None)


def begun(job: Job, loaded: Loaded | None = None, device: torch.device = CPU) -> Run:
    progress = Progress(lambda *_: None)
    known = Measurements({"load_s": 1.0})
    return begin(job, loaded or Loaded("", SVD, 1.0, 0, None), device, progress, known)


def test_a_job_begins_on_a_cleared_device_with_a_picture_as_large_as_the_video(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cleared: list[Any] = []
    monkeypatch.setattr(run_module, "_clear", lambda *told: cleared.append(told))
    loaded = Loaded("", SVD, 1.0, 0, None)
    job = replace(JOB, fps=9, max_guidance_scale=1.0, memory=Memory(denoise_steps=7))
    run = begun(job, loaded, GPU)
    assert cleared == [(loaded, GPU, run.measurements)]
    assert run.setup.picture.size == (96, 64)
    assert (run.setup.pipe, run.setup.job, run.setup.device, run.loaded) == (SVD, job, GPU, loaded)
    assert run.setup.chunk == 2
    settled = {"decode_frames": 2, "denoise_steps": 7, "guided": False, "fps_id": 8}
    assert run.measurements.values == {"load_s": 1.0, **settled}
    assert begun(replace(JOB, decode_chunk_size="all")).setup.chunk == 4


LEFT = "{} GiB of an earlier job were still on the device when this one began"
STUCK = "host_ram_peak_gib is the peak of the worker's life: the kernel would not reset it"


@pytest.mark.parametrize(
    ("held_gib", "resident_gib", "resets", "notes"),
    [
        (1.05, 1.0, True, []),  # a twentieth is what allocators round
        (1.06, 1.0, True, [LEFT.format("0.06")]),
        (1.5, 2.0, True, []),
        (1.5, None, True, []),
        (0.06, 0.0, True, [LEFT.format("0.06")]),  # of a pipeline whose weights wait elsewhere
        (None, 1.0, True, []),
        (1.5, 1.0, False, [LEFT.format("0.50"), STUCK]),
    ],
)
def test_what_an_earlier_job_left_is_told(
    monkeypatch: pytest.MonkeyPatch,
    held_gib: float | None,
    resident_gib: float | None,
    resets: bool,
    notes: list[str],
) -> None:
    emptied: list[Any] = []
    monkeypatch.setattr(run_module.vram, "empty_cache", emptied.append)
    monkeypatch.setattr(run_module.vram, "allocated_gib", {GPU: held_gib}.__getitem__)
    monkeypatch.setattr(run_module.vram, "reset_host_peak", lambda: resets)
    measurements = Measurements()
    CLEAR(Loaded("", SVD, 1.0, 0, resident_gib), GPU, measurements)
    assert emptied == [GPU]
    assert (measurements.values, measurements.notes) == ({"vram_before_gib": held_gib}, notes)


def test_progress_remembers_the_phase_and_the_largest_peak() -> None:
    told: list[Any] = []
    progress = Progress(lambda *report: told.append(report))
    assert (progress.phase, progress.peak_gib) == ("load", None)
    progress("denoise")
    progress("vae_decode", 7.0)
    progress.quietly("denoise", 9.0)
    assert (progress.phase, progress.peak_gib) == ("vae_decode", 9.0)
    progress("write", 5.0)
    assert (progress.phase, progress.peak_gib) == ("write", 9.0)
    assert told == [("denoise", None), ("vae_decode", 7.0), ("vae_decode", 9.0), ("write", 5.0)]


@pytest.mark.parametrize(
    ("gpu", "held_gib", "frames"),
    [(Gpu(), 2, 9), (Gpu(memory_limit_gib=10), 2, 6), (Gpu(memory_limit_gib=8), 0, 6)],
)
def test_auto_decodes_what_fits_the_free_memory_and_the_cap(
    monkeypatch: pytest.MonkeyPatch, gpu: Gpu, held_gib: int, frames: int
) -> None:
    """At 576×1024 nine frames fit 12 GiB and six 8; what is held already counts against the cap alone."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", {GPU: (12 * 2**30, 80 * 2**30)}.__getitem__)
    monkeypatch.setattr(torch.cuda, "memory_allocated", {GPU: held_gib * 2**30}.__getitem__)
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
    decoders = {name for name in SETTINGS if name.startswith("model.decoder")}
    assert shared == {"decode_chunk_size", "metrics.families", "measure.noise_floor", *decoders}


def test_the_noise_floor_is_found_for_each_shape_and_scheduler_of_a_baseline(measure: Measure) -> None:
    jobs = {"": JOB, **{name: with_another(JOB, name) for name in SETTINGS}}
    baselines = {name: replace(job, baseline=job.key) for name, job in jobs.items()}
    found = {name for name, job in baselines.items() if "noise_floor_psnr_db" in measure(job)[1]}
    assert found == {
        "",
        "num_frames",
        "height",
        "width",
        "decode_chunk_size",
        "model.scheduler",
        "model.decoder",
    }


def test_shared_latents_are_decoded_as_often_as_their_denoise_was_timed(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_module.measure
    timed = whole(None, None, True)
    last = replace(timed.last, latents=torch.ones(1))
    monkeypatch.setattr(
        run_module, "measure", lambda *_: replace(timed, last=last, timings=timed.timings * 3)
    )
    repeats = []

    def decoded(setup: Any, latents: Any, times: int, progress: Any, _cold: bool) -> Measured:
        assert setup.chunk == 1
        assert latents is timed.first.latents
        assert isinstance(progress, Progress)
        repeats.append(times)
        return replace(timed, timings=timed.timings * times)

    monkeypatch.setattr(run_module, "measure_decode", decoded)
    measure(replace(JOB, measure=Repeats(within=0.01)))
    measure(replace(JOB, measure=Repeats(within=0.01), decode_chunk_size=1))
    assert repeats == [3]


def test_a_job_that_shares_nothing_itself_leaves_its_latents_to_others(measure: Measure) -> None:
    alone = replace(JOB, measure=Repeats(share_latents=False))
    measure(alone)
    assert measure(replace(JOB, decode_chunk_size=1))[1]["latency_shared_with"] == alone.key
    assert "latency_shared_with" not in measure(replace(alone, decode_chunk_size=1))[1]


def test_only_the_latest_latents_are_kept(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "SHARED_AT_MOST", 2)
    jobs = [replace(JOB, seed=seed) for seed in range(3)]
    for job in jobs:
        assert "latency_shared_with" not in measure(job)[1]
    assert "latency_shared_with" not in measure(jobs[2])[1], "a job is measured itself when it comes again"
    others = [replace(job, decode_chunk_size=1) for job in jobs]
    shared = [measure(job)[1].get("latency_shared_with") for job in reversed(others)]
    assert shared == [jobs[2].key, jobs[1].key, None]


TIMING = Timing(
    4.0, dict.fromkeys(STAGES, 1.0), [0.5, 0.5], dict.fromkeys(STAGES, Peak(2.0, 3.0)), {"unet": 2}
)


def output(shade: float = 0.0) -> Output:
    return Output(np.full((1, 8, 8, 3), shade, np.float32), torch.zeros(1), TIMING)


def test_a_measured_job_tells_times_peaks_energy_and_what_its_strategy_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = output()
    run, checked, given = begun(JOB, device=GPU), [], []
    states = iter([State(energy_j=100.0), State(energy_j=115.0, temperature_c=60)])
    answers = {
        "state_of": lambda device: next(states) if device == GPU else None,
        "measure": lambda *told: given.append(told) or Measured(one, one, [TIMING], [2.0], 9.0),
        "check_after_run": lambda *told: checked.append(told),
        "kernels_chosen": lambda pipe, job: [f"a kernel for {job.num_frames} frames"] if pipe is SVD else [],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(run_module, name, answer)
    monkeypatch.setattr(run_module.vram, "host_peak_gib", lambda: 1.5)
    monkeypatch.setattr(run_module.vram, "pinned_peak_gib", {GPU: 0.5}.__getitem__)
    run.measurements.notes.append("told before")
    run.measurements.series["told_before"] = [1]
    run.measure()
    assert given == [(run.setup, run.progress, True)]
    assert checked == [(SVD, JOB.memory, GPU)]
    expected = {"total_s": 4.0, "step_s": 0.5, "frames_per_s": 1.0, "compile_s": 5.0, "warmup_s": 2.0}
    expected |= {"vram_allocated_peak_gib": 2.0, "vram_reserved_peak_gib": 3.0, "temperature_c": 60}
    expected |= {"energy_j": 4.0}  # 15 J in 15 s, of which the timed run took 4
    expected |= {"host_ram_peak_gib": 1.5, "host_pinned_peak_gib": 0.5, "decode_frames": 2}
    assert expected.items() <= run.measurements.values.items()
    assert run.measurements.notes == ["told before", "a kernel for 4 frames"]
    stages = {f"{stage}_s": [1.0] for stage in STAGES}
    series = {"told_before": [1], "total_s": [4.0], **stages, "step_s": [[0.5, 0.5]], "warmup_s": [2.0]}
    assert run.measurements.series == series


def test_a_first_run_that_was_timed_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, loaded = output(), Loaded("", SVD, 1.0, 0, None)
    monkeypatch.setattr(run_module, "measure", lambda *_: Measured(one, one, [TIMING]))
    for notes in (1, 0):
        run = begun(JOB, loaded, GPU)
        run.measurements.notes.append("told before")
        measured, timings = run._measured()
        assert (measured.first, timings) == (one, [TIMING])
        assert [note.startswith("timed without a warm-up") for note in run.measurements.notes] == (
            [False] + [True] * notes
        )


@pytest.mark.parametrize("repeated", [True, False])
def test_a_baseline_that_is_not_bit_equal_to_itself_says_so(
    monkeypatch: pytest.MonkeyPatch, repeated: bool
) -> None:
    """One grey level of 255 everywhere is 20 · log10(255) = 48.13 dB."""
    told: list[Any] = []

    def again(setup: Any, report: Any) -> Output:
        assert setup.job is baseline
        report("denoise", 2.0)
        return output(1 / 255)

    monkeypatch.setattr(run_module, "run_once", again)
    baseline = replace(JOB, baseline=JOB.key)
    run = begun(baseline)
    run = replace(run, progress=Progress(lambda *report: told.append(report)))
    first = output()
    measured = Measured(first, output(1 / 255) if repeated else first, [TIMING])
    for _ in range(2):  # the second time it is known
        assert run.noise_floor_db(measured) == pytest.approx(48.13, abs=0.01)
        assert run.measurements.notes == ["the baseline repeated is not bit-equal to itself (48.1 dB)"]
    assert run.measurements.values["noise_floor_psnr_db"] == pytest.approx(48.13, abs=0.01)
    assert told == ([] if repeated else [("noise_floor", None), ("noise_floor", 2.0)])
    unasked = replace(baseline, measure=Repeats(noise_floor=False))
    assert begun(replace(unasked, baseline=unasked.key)).noise_floor_db(measured) is None
    assert begun(replace(baseline, seed=1)).noise_floor_db(measured) is None


def test_a_baseline_that_is_bit_equal_to_itself_needs_no_note() -> None:
    run = begun(replace(JOB, baseline=JOB.key))
    assert run.noise_floor_db(Measured(output(), output(), [TIMING])) == 100.0
    assert not run.measurements.notes
