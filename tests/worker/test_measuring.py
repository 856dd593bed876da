"""How often a job runs and what each run is given, on a pipeline that computes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from idle_pipeline import IdlePipeline

from svdsweep.config import Job, Memory
from svdsweep.config import Measure as Repeats
from svdsweep.memory.per_run import arguments
from svdsweep.probes.stages import StageProbe, Timing
from svdsweep.probes.statistics import summarize
from svdsweep.worker import measuring
from svdsweep.worker.measuring import (
    Measured,
    Output,
    Setup,
    decode,
    generate,
    measure,
    measure_decode,
    run_once,
    warm_up,
)

CPU = torch.device("cpu")
JOB = Job(num_frames=4, num_inference_steps=2, seed=5)
LATENTS = torch.arange(8.0).reshape(1, 4, 2, 1, 1)
FRAMES = np.ones((4, 8, 8, 3), np.float32)
Told = list[tuple[str, float | None]]


class Pipe(IdlePipeline):
    """The parts of a pipeline that a run touches; `asked` is what it was called with, `undone` what it was told."""

    def __init__(self) -> None:
        super().__init__()
        config = SimpleNamespace(sigma_min=None, sigma_max=None)
        self.scheduler = SimpleNamespace(config=config, sigmas=torch.tensor([700.0, 9.0, 1.0, 0.25, 0.0]))
        self._execution_device = CPU
        self.video_processor = SimpleNamespace(postprocess_video=self.postprocess)
        self.asked: Any = None
        self.undone = 0

    def __call__(self, picture: Any, **asked: Any) -> Any:
        self.asked = {"picture": picture, **asked}
        self.call("image_encoder")
        self.call("vae_encoder")
        for step in range(asked["num_inference_steps"]):
            self.call("unet")
            asked["callback_on_step_end"](self, step, None, {"latents": LATENTS + step})
        self.call("vae_decoder")
        return SimpleNamespace(frames=[FRAMES, None])

    def decode_latents(self, *asked: Any) -> Any:
        self.asked = [*asked, torch.is_grad_enabled()]
        self.call("vae_decoder")
        return "video"

    def postprocess(self, video: Any, output_type: str) -> Any:
        assert (video, output_type) == ("video", "np")
        return [FRAMES, None]

    def maybe_free_model_hooks(self) -> None:
        self.undone += 1


def setup(pipe: Any = None, job: Job = JOB) -> Setup:
    return Setup(pipe or Pipe(), job, "a picture", 3, CPU)


def silent(phase: str, peak_gib: float | None) -> None:
    pass


def in_turn(monkeypatch: pytest.MonkeyPatch, seconds: Sequence[float] | Iterator[float]) -> list[Output]:
    """Let a run take the next of these seconds; the outputs of the runs, as they come."""
    left, outputs = iter(seconds), []

    def answer(given: Setup, report: Any) -> Output:
        assert given.picture == "a picture"
        report("denoise", 2.0)
        outputs.append(Output(FRAMES, LATENTS, Timing(next(left), {}, [], {})))
        return outputs[-1]

    monkeypatch.setattr(measuring, "run_once", answer)
    return outputs


@pytest.mark.parametrize(
    ("how", "memory", "cold", "phases"),
    [
        (Repeats(), Memory(), True, ["timed"]),
        (Repeats(warmup=2, repeats=3), Memory(), True, ["warmup", "warmup", "timed", "timed", "timed"]),
        (Repeats(warmup=2, repeats=3), Memory(), False, ["timed"] * 3),
        (Repeats(), Memory(compile="whole"), True, ["compile", "timed"]),
        (Repeats(warmup=1), Memory(compile_vae=True), True, ["compile", "warmup", "timed"]),
        (Repeats(), Memory(compile="whole"), False, ["timed"]),
        (Repeats(), Memory(attention="measured"), True, ["warmup", "timed"]),
        (Repeats(warmup=2), Memory(attention="measured"), True, ["warmup", "warmup", "timed"]),
        (Repeats(), Memory(attention="measured", compile="whole"), True, ["compile", "timed"]),
        (Repeats(), Memory(attention="measured"), False, ["timed"]),
    ],
)
def test_a_job_compiles_warms_up_and_is_timed_in_this_order(
    monkeypatch: pytest.MonkeyPatch, how: Repeats, memory: Memory, cold: bool, phases: list[str]
) -> None:
    outputs, told = in_turn(monkeypatch, map(float, count(1))), []
    job = replace(JOB, measure=how, memory=memory)
    measured = measure(setup(job=job), lambda *report: told.append(report), cold)
    of = {name: [i + 1.0 for i, p in enumerate(phases) if p == name] for name in ("compile", *phases)}
    assert told == [("denoise" if phase == "timed" else phase, 2.0) for phase in phases]
    assert measured.compile_run_s == (of["compile"][0] if of["compile"] else None)
    assert measured.warmup_s == of.get("warmup", [])
    assert measured.untimed_s == [*of["compile"], *of.get("warmup", [])]
    assert measured.total_s == of["timed"]
    timed = outputs[-len(of["timed"]) :]
    assert (measured.first, measured.last) == (timed[0], timed[-1])


NOISE = [1.0, 1.1, 1.2, 1.1, 1.15, 1.1, 1.15, 1.1]


@pytest.mark.parametrize(
    ("how", "seconds", "runs"),
    [
        (Repeats(within=0.01), repeat(1.0), 3),  # two runs have no interval
        (Repeats(within=0.01, repeats=5), repeat(1.0), 5),
        (Repeats(within=0.001, repeats_limit=6), NOISE, 6),
        (Repeats(within=0.001, repeats_limit=2), NOISE, 2),
        (Repeats(within=summarize(NOISE[:5], 3).half_width), NOISE, 5),  # the interval of 3 or 4 is wider
        (Repeats(repeats=2), NOISE, 2),
    ],
)
def test_a_job_repeats_until_its_interval_is_narrow_or_the_limit_is_met(
    monkeypatch: pytest.MonkeyPatch, how: Repeats, seconds: Any, runs: int
) -> None:
    in_turn(monkeypatch, seconds)
    assert len(measure(setup(job=replace(JOB, measure=how)), silent, cold=True).timings) == runs


@pytest.mark.parametrize(
    ("how", "seconds", "runs"),
    [
        (Repeats(warmup=3), [9.0, 9.0, 9.0, 9.0], 3),
        (Repeats(until_steady=True), [100.0, 95.0, 95.0], 2),  # apart by the twentieth part
        (Repeats(until_steady=True), [100.0, 94.9, 94.9, 94.9], 3),
        (Repeats(until_steady=True), [95.0, 100.0, 105.0, 105.0], 3),  # of the earlier one
        (Repeats(until_steady=True), [50.0, 10.0, 50.0, 50.0, 50.0], 4),
        (Repeats(until_steady=True, warmup_limit=2), [4.0, 3.0, 2.0, 1.0], 2),
        (Repeats(until_steady=True, warmup=3), [9.0, 9.0, 9.0, 9.0], 3),
        (Repeats(until_steady=True, warmup=3, warmup_limit=2), [9.0, 6.0, 3.0, 1.0], 3),
    ],
)
def test_warming_up_ends_when_two_runs_in_a_row_agree_or_at_its_limit(
    how: Repeats, seconds: list[float], runs: int
) -> None:
    left = iter(seconds)
    assert warm_up(how, lambda: next(left)) == seconds[:runs]


@pytest.mark.parametrize(
    ("how", "compile_vae", "cold", "untimed"),
    [
        (Repeats(), False, True, (0, 0)),
        (Repeats(warmup=1), False, True, (0, 1)),
        (Repeats(warmup=3), False, True, (0, 1)),
        (Repeats(until_steady=True), False, True, (0, 1)),
        (Repeats(warmup=3), False, False, (0, 0)),
        (Repeats(), True, True, (1, 0)),
        (Repeats(), True, False, (0, 0)),
        (Repeats(within=0.001, repeats=9), False, True, (0, 0)),
    ],
)
def test_a_decode_is_repeated_as_often_as_asked_after_one_that_is_not_timed(
    how: Repeats, compile_vae: bool, cold: bool, untimed: tuple[int, int]
) -> None:
    told: Told = []
    job = replace(JOB, measure=how, memory=Memory(compile="whole", compile_vae=compile_vae))
    measured = measure_decode(setup(job=job), LATENTS, 2, lambda *report: told.append(report), cold)
    assert (int(measured.compile_run_s is not None), len(measured.warmup_s)) == untimed
    phases = ["compile"] * untimed[0] + ["warmup"] * untimed[1] + ["vae_decode"] * 2
    assert told == [(phase, None) for phase in phases]
    assert [list(timing.stage_s) for timing in measured.timings] == [["vae_decode"]] * 2
    assert measured.first.latents is LATENTS


def test_a_run_asks_for_what_the_job_says_and_keeps_its_last_latents() -> None:
    pipe, job = Pipe(), replace(JOB, memory=Memory(sigmas="ays", denoise_steps=20))
    told: Told = []
    output = run_once(setup(pipe, job), lambda *report: told.append(report))
    asked = pipe.asked
    assert asked.pop("generator").initial_seed() == 5
    assert asked.pop("callback_on_step_end")
    given = {"picture": "a picture", "decode_chunk_size": 3, "output_type": "np"}
    assert asked == {**arguments(job, 0.25), **given}, "without a sigma_min it is the schedule's last above 0"
    assert [phase for phase, _ in told] == ["image_encode", "vae_encode", "denoise", "vae_decode"]
    assert output.frames is FRAMES
    assert torch.equal(output.latents, LATENTS + 19)
    assert len(output.timing.step_s) == 20
    pipe.scheduler.config.sigma_min = 0.5
    with StageProbe(pipe, CPU, silent, 20) as probe:
        generate(setup(pipe, job), probe)
    assert pipe.asked["sigmas"] == arguments(job, 0.5)["sigmas"] != arguments(job, 0.25)["sigmas"]


def test_a_decode_goes_to_the_device_that_computes_without_gradients_and_frees_what_hooks_hold() -> None:
    pipe = Pipe()
    pipe._execution_device = torch.device("meta")
    with StageProbe(pipe, CPU, silent, 0, decode_only=True) as probe:
        output = decode(setup(pipe), LATENTS, probe)
    on_device, *rest = pipe.asked
    assert (on_device.device.type, *rest) == ("meta", 4, 3, False)
    assert (output.frames is FRAMES, output.latents is LATENTS, pipe.undone) == (True, True, 1)


def test_nothing_untimed_is_an_empty_list() -> None:
    output: Any = None
    assert Measured(output, output, []).untimed_s == []
