"""Stages from boundary to boundary, steps exact, and faults that must not pass for a run."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from idle_pipeline import IdlePipeline

from svdsweep.backends import cpu
from svdsweep.config import Job, Model
from svdsweep.models.load import load_pipeline
from svdsweep.probes import stages
from svdsweep.probes.stages import ProbeFault, StageProbe, Timing, hooks_on
from svdsweep.probes.vram import Peak
from svdsweep.store.columns import STAGES
from svdsweep.worker.measuring import Setup, decode, generate, run_once

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
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


def test_probing_changes_no_frame_tells_the_phases_and_leaves_no_hook(pipe: Any) -> None:
    before, phases = hooks_on(pipe), []
    probed = run_once(setup(pipe), lambda phase, _: phases.append(phase))
    assert hooks_on(pipe) == before
    assert phases == list(STAGES)
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


def test_hooks_are_gone_even_after_a_failure(pipe: Any) -> None:
    before = hooks_on(pipe)
    with pytest.raises(ZeroDivisionError), StageProbe(pipe, CPU, silent, 3):
        raise ZeroDivisionError
    assert hooks_on(pipe) == before


WHOLE = ["image_encoder", "vae_encoder", "unet", "step", "unet", "step", "vae_decoder"]


def timed(calls: list[str], report: Any = silent, device: torch.device = CPU, **how: Any) -> list[Timing]:
    """Twice the run of these calls under one probe, on networks that compute nothing."""
    networks, timings = IdlePipeline(), []
    with StageProbe(networks, device, report, **{"steps": 2, **how}) as probe:
        for _ in range(2):
            probe.start()
            index = 0
            for call in calls:
                if call == "step":
                    assert probe.latents is None
                    assert probe.step(None, index, None, {"latents": index}) == {}
                    index += 1
                else:
                    networks.call(call)
            timings.append(probe.finish())
            assert probe.latents == (1 if "step" in calls else None), "those of the last step"
    assert hooks_on(networks) == 0
    return timings


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the host's clock shows next; filled by a test."""
    left: list[float] = []
    for module in (stages, cpu):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: left.pop(0)))
    return left


def test_a_stage_lasts_from_the_end_of_the_one_before_and_a_run_from_its_begin(ticks: list[float]) -> None:
    """The clock is read at both begins, after the image encoder, before the first unet, at two steps and both ends."""
    ticks += [10.0, 10.0, 11.0, 13.0, 16.0, 20.0, 25.0, 25.2]
    ticks += [50.0, 50.0, 51.0, 52.0, 53.0, 54.0, 55.0, 55.0]
    calls = {"image_encoder": 1, "vae_encoder": 1, "unet": 2, "vae_decoder": 2}
    first, second = timed([*WHOLE, "vae_decoder"])
    of = dict(zip(STAGES, (1.0, 2.0, 7.0, 5.0), strict=True))
    assert first == Timing(pytest.approx(15.2), of, [3.0, 4.0], dict.fromkeys(STAGES), calls)
    of = dict(zip(STAGES, (1.0, 1.0, 2.0, 1.0), strict=True))
    assert second == Timing(5.0, of, [1.0, 1.0], dict.fromkeys(STAGES), calls), "it counts from nothing"


def test_a_decode_alone_is_one_stage(ticks: list[float]) -> None:
    ticks += [1.0, 1.0, 3.0, 3.0] * 2
    told: list[Any] = []
    timing, _ = timed(["vae_decoder"], lambda *report: told.append(report), decode_only=True)
    calls = {"image_encoder": 0, "vae_encoder": 0, "unet": 0, "vae_decoder": 1}
    assert timing == Timing(2.0, {"vae_decode": 2.0}, [], {"vae_decode": None}, calls)
    assert told == [("vae_decode", None)] * 2


@pytest.mark.parametrize("off_by_s", [0.31, -0.29])
def test_stages_that_do_not_add_up_are_a_fault(ticks: list[float], off_by_s: float) -> None:
    """Of 15 s a fiftieth is 0.3 s, and the hundredth of a second comes on top."""
    marks = [0.0, 1.0, 2.0, 3.0, 4.0, 15.0]
    fits = [0.0, *marks, 15.0 + 0.97 * off_by_s]
    ticks += [*fits, 0.0, *marks, 15.0 + 1.05 * off_by_s]
    with pytest.raises(ProbeFault) as fault:
        timed(WHOLE)
    assert str(fault.value) == (
        f"the stages add up to 15.0000 s, but the run took {15 + 1.05 * off_by_s:.4f} s: more than 2% apart"
    )
    assert not ticks, "the first run was within the tolerance"


@pytest.mark.parametrize(
    ("calls", "decode_only", "wrong"),
    [
        (WHOLE[1:], False, "image_encoder 0 times, not 1"),
        (["image_encoder", *WHOLE], False, "image_encoder 2 times, not 1"),
        (WHOLE[:1] + WHOLE[2:], False, "vae_encoder 0 times, not 1"),
        ([*WHOLE[:3], "unet", *WHOLE[3:]], False, "unet 3 times, not 2"),
        ([*WHOLE[:3], *WHOLE[4:]], False, "1 step times for 2 steps"),
        (WHOLE[:-1], False, "the VAE's decoder never"),
        ([], True, "the VAE's decoder never"),
        (["image_encoder", "unet", "vae_decoder"], True, "image_encoder 1 times, not 0; unet 1 times, not 0"),
    ],
)
def test_a_run_that_calls_other_than_it_should_is_a_fault(
    calls: list[str], decode_only: bool, wrong: str
) -> None:
    with pytest.raises(ProbeFault) as fault:
        timed(calls, decode_only=decode_only)
    assert str(fault.value) == f"the run is not what it seems: it called {wrong}"


def test_each_stage_has_a_peak_of_its_own_told_with_the_next_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    peaks = iter([Peak(gib, gib + 1) for gib in (1.0, 4.0, 2.0, 8.0, 5.0, 6.0, 7.0, 9.0)])

    def read(device: torch.device) -> Peak:
        seen.append(("read", device))
        return next(peaks)

    monkeypatch.setattr(stages, "read_peak", read)
    monkeypatch.setattr(stages, "reset_peak", lambda device: seen.append(("reset", device)))
    first, second = timed(WHOLE, lambda *report: seen.append(report))
    assert [peak.allocated_gib for peak in first.peaks.values() if peak] == [1.0, 4.0, 2.0, 8.0]
    assert [peak.allocated_gib for peak in second.peaks.values() if peak] == [5.0, 6.0, 7.0, 9.0]
    assert list(first.peaks) == list(STAGES)
    one = [("reset", CPU), ("image_encode", None)]
    for phase, gib in (("vae_encode", 1.0), ("denoise", 4.0), ("vae_decode", 2.0)):
        one += [("read", CPU), ("reset", CPU), (phase, gib)]
    assert seen[: len(one) + 2] == [*one, ("read", CPU), ("reset", CPU)]


def test_hooks_are_counted_on_all_networks_of_both_kinds() -> None:
    networks = IdlePipeline()
    for part in (networks.vae, networks.vae.decoder, networks.image_encoder):
        part.register_forward_hook(lambda *_: None)
    networks.unet.register_forward_pre_hook(lambda *_: None)
    assert hooks_on(networks) == 4


def test_the_gpus_clock_marks_without_waiting_and_tells_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            told.append(f"record on {stream}")

        def elapsed_time(self, later: Any) -> float:
            return 1500.0 if (self, later) == (begin, end) else 0.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", {GPU: "stream"}.__getitem__)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: told.append(f"wait for {device}"))
    clock = stages.Clock(GPU)
    begin, end = clock.mark(), clock.mark()
    assert told == ["record on stream"] * 2
    clock.settle()
    assert told[2:] == ["wait for cuda:0"]
    assert clock.seconds(begin, end) == 1.5


def test_a_run_ends_when_the_gpu_has_done_its_work(
    monkeypatch: pytest.MonkeyPatch, ticks: list[float]
) -> None:
    """The host's clock is read once the device is idle, at the begin as at the end."""
    told: list[str] = []
    ticks += [0.0, 4.0] * 2
    monkeypatch.setattr(stages, "read_peak", lambda _: None)
    monkeypatch.setattr(stages, "reset_peak", lambda _: None)
    monkeypatch.setattr(stages.Clock, "mark", lambda _: told.append(f"mark at {ticks[0]}") or len(told))
    monkeypatch.setattr(stages.Clock, "settle", lambda _: told.append(f"wait at {ticks[0]}"))
    monkeypatch.setattr(stages.Clock, "seconds", lambda *_: 1.0)
    first, _ = timed(WHOLE, device=GPU)
    assert first.total_s == 4.0
    assert told[:8] == ["wait at 0.0", *["mark at 4.0"] * 6, "wait at 4.0"]
