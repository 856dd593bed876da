"""Stages from boundary to boundary, steps exact, and faults that must not pass for a run."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from svdsweep.config import Job, Measure, Model
from svdsweep.models.load import load_pipeline
from svdsweep.probes import stages
from svdsweep.probes.stages import ProbeFault, StageProbe, hooks_on
from svdsweep.worker.measuring import Setup, decode, generate, measure, run_once, warm_up

CPU = torch.device("cpu")
JOB = Job(num_frames=4, height=32, width=64, num_inference_steps=3, max_guidance_scale=1.5)
PICTURE = PIL.Image.fromarray(np.arange(32 * 64 * 3, dtype=np.uint8).reshape(32, 64, 3))


def silent(phase: str, peak_gib: float | None) -> None:
    pass


def setup(pipe: Any, job: Job = JOB, chunk: int = 4) -> Setup:
    return Setup(pipe, job, PICTURE, chunk, CPU)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return load_pipeline(Model(), CPU)


@pytest.fixture
def probe(pipe: Any) -> Iterator[StageProbe]:
    with StageProbe(pipe, CPU, silent, steps=3) as probe:
        yield probe


def test_four_stages_add_up_to_the_total_and_every_step_is_timed(pipe: Any, probe: StageProbe) -> None:
    timing = generate(setup(pipe), probe).timing
    assert list(timing.stage_s) == ["image_encode", "vae_encode", "denoise", "vae_decode"]
    assert all(seconds > 0 for seconds in timing.stage_s.values())
    assert sum(timing.stage_s.values()) == pytest.approx(timing.total_s, rel=0.02)
    assert len(timing.step_s) == 3
    assert sum(timing.step_s) == pytest.approx(timing.stage_s["denoise"], rel=1e-6)
    assert timing.calls == {"image_encoder": 1, "vae_encoder": 1, "unet": 3, "vae_decoder": 1}


def test_a_second_run_counts_from_nothing(pipe: Any, probe: StageProbe) -> None:
    generate(setup(pipe), probe)
    timing = generate(setup(pipe, chunk=2), probe).timing
    assert timing.calls["unet"] == 3
    assert timing.calls["vae_decoder"] == 2
    assert len(timing.step_s) == 3


def test_phases_are_reported_in_order(pipe: Any) -> None:
    phases: list[str] = []
    run_once(setup(pipe), lambda phase, _: phases.append(phase))
    assert phases == ["image_encode", "vae_encode", "denoise", "vae_decode"]


def test_probing_changes_no_frame_and_leaves_no_hook(pipe: Any) -> None:
    before = hooks_on(pipe)
    probed = run_once(setup(pipe), silent)
    assert hooks_on(pipe) == before
    plain = pipe(
        PICTURE,
        height=32,
        width=64,
        num_frames=4,
        num_inference_steps=3,
        max_guidance_scale=1.5,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="np",
    ).frames[0]
    assert np.array_equal(plain, probed.frames)


def test_decoding_kept_latents_equals_the_whole_run(pipe: Any) -> None:
    for chunk in (1, 2, 4):
        whole = run_once(setup(pipe, chunk=chunk), silent)
        with StageProbe(pipe, CPU, silent, 0, decode_only=True) as probe:
            again = decode(setup(pipe, chunk=chunk), whole.latents, probe)
        assert np.array_equal(whole.frames, again.frames)
        assert list(again.timing.stage_s) == ["vae_decode"]


def test_a_stage_that_is_never_entered_is_a_fault(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        embedding = pipe._encode_image(PICTURE, CPU, 1, True)
    monkeypatch.setattr(pipe, "_encode_image", lambda *_: embedding)
    with pytest.raises(ProbeFault, match="image_encoder 0 times"):
        run_once(setup(pipe), silent)


def test_steps_counted_twice_are_a_fault(
    pipe: Any, probe: StageProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = probe.step

    def twice(*args: Any) -> Any:
        once(*args)
        return once(*args)

    monkeypatch.setattr(probe, "step", twice)
    with pytest.raises(ProbeFault, match="6 step times for 3 steps"):
        generate(setup(pipe), probe)


def test_a_unet_that_runs_twice_a_step_is_a_fault(pipe: Any, probe: StageProbe) -> None:
    again = pipe.unet.register_forward_hook(lambda *_: probe._before_unet())
    try:
        with pytest.raises(ProbeFault, match="unet 6 times, not 3"):
            generate(setup(pipe), probe)
    finally:
        again.remove()


def test_a_decode_that_decodes_nothing_is_a_fault(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = run_once(setup(pipe), silent).latents
    monkeypatch.setattr(pipe, "decode_latents", lambda *_: torch.zeros(1, 3, 4, 64, 64))
    with (
        StageProbe(pipe, CPU, silent, 0, decode_only=True) as probe,
        pytest.raises(ProbeFault, match="the VAE's decoder never"),
    ):
        decode(setup(pipe), latents, probe)


def test_stages_that_do_not_add_up_are_a_fault(
    pipe: Any, probe: StageProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(stages.Clock):
        def seconds(self, begin: float, end: float) -> float:
            return (end - begin) * 1.5

    monkeypatch.setattr(probe, "clock", Slow(CPU))
    with pytest.raises(ProbeFault, match="more than 2% apart"):
        generate(setup(pipe), probe)


def test_hooks_are_gone_even_after_a_failure(pipe: Any) -> None:
    before = hooks_on(pipe)
    with pytest.raises(ZeroDivisionError), StageProbe(pipe, CPU, silent, 3):
        raise ZeroDivisionError
    assert hooks_on(pipe) == before


def test_repeats_are_counted_and_kept(pipe: Any) -> None:
    job = Job(num_frames=2, num_inference_steps=1, measure=Measure(warmup=1, repeats=3))
    measured = measure(setup(pipe, job, 2), silent, cold=True)
    assert (len(measured.timings), len(measured.warmup_s)) == (3, 1)
    assert np.array_equal(measured.first.frames, measured.last.frames)
    assert not measure(setup(pipe, job, 2), silent, cold=False).warmup_s


def test_repeating_until_sure_ends_at_its_limit(pipe: Any) -> None:
    how = Measure(repeats=1, within=0.001, repeats_limit=4)
    job = Job(num_frames=2, num_inference_steps=1, measure=how)
    assert 3 <= len(measure(setup(pipe, job, 2), silent, cold=False).timings) <= 4


def test_warming_up_ends_when_two_runs_agree_or_at_its_limit() -> None:
    times = iter([9.0, 5.0, 3.0, 2.95, 2.9])
    how = Measure(warmup=1, until_steady=True, warmup_limit=9)
    assert warm_up(how, lambda: next(times)) == [9.0, 5.0, 3.0, 2.95]
    falling = iter(range(100, 0, -10))
    assert len(warm_up(Measure(until_steady=True, warmup_limit=4), lambda: float(next(falling)))) == 4


def test_the_gpus_clock_marks_without_waiting_and_tells_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            told.append(f"record on {stream}")

        def elapsed_time(self, _later: Any) -> float:
            return 1500.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: "stream")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: told.append("wait"))
    clock = stages.Clock(torch.device("cuda", 0))
    begin, end = clock.mark(), clock.mark()
    assert told == ["record on stream"] * 2
    clock.settle()
    assert told[2:] == ["wait"]
    assert clock.seconds(begin, end) == 1.5
