"""How often a job runs: warm-up, timed repeats, and the decode of latents that another job has made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from svdsweep.config import Job, Measure
from svdsweep.memory.compile import compiles
from svdsweep.memory.per_run import arguments, steps_of
from svdsweep.probes.stages import Report, StageProbe, Timing
from svdsweep.probes.statistics import summarize

STEADY_WITHIN = 0.05
"""Two untimed runs in a row closer than this share: the pipeline is warm."""


@dataclass(frozen=True)
class Output:
    """One run: `frames` (F, H, W, 3) float32, 0–1; final `latents` (1, F, C, h, w) on the host; when what happened."""

    frames: NDArray[np.float32]
    latents: torch.Tensor
    timing: Timing


@dataclass(frozen=True)
class Measured:
    """All runs of a job. `warmup_s`: totals of the untimed ones, in order; `compile_run_s`: of the one before them, in
    which torch.compile did its work."""

    first: Output
    last: Output
    timings: list[Timing]
    warmup_s: list[float] = field(default_factory=list)
    compile_run_s: float | None = None

    @property
    def total_s(self) -> list[float]:
        """Of each timed run."""
        return [t.total_s for t in self.timings]

    @property
    def untimed_s(self) -> list[float]:
        """Of every other run."""
        return [*([self.compile_run_s] if self.compile_run_s is not None else []), *self.warmup_s]


def generate(pipe: Any, job: Job, picture: Any, chunk: int, probe: StageProbe) -> Output:
    """One whole run; every one of a seed starts from the same noise, drawn on the host."""
    sigma_min = float(pipe.scheduler.config.sigma_min or pipe.scheduler.sigmas[-2])
    generator = torch.Generator("cpu").manual_seed(job.seed)
    probe.start()
    frames = pipe(
        picture,
        generator=generator,
        decode_chunk_size=chunk,
        output_type="np",
        callback_on_step_end=probe.step,
        **arguments(job, sigma_min),
    ).frames[0]
    timing = probe.finish()
    assert probe.latents is not None
    return Output(frames, probe.latents.cpu(), timing)


def decode(pipe: Any, job: Job, latents: torch.Tensor, chunk: int, probe: StageProbe) -> Output:
    """The decode alone, of latents (1, F, C, h, w) that the same settings made: equal to that of a whole run."""
    on_device = latents.to(pipe._execution_device)
    with torch.no_grad():
        probe.start()
        video = pipe.decode_latents(on_device, job.num_frames, chunk)
        frames = pipe.video_processor.postprocess_video(video, output_type="np")[0]
        timing = probe.finish()
    pipe.maybe_free_model_hooks()
    return Output(frames, latents, timing)


def measure(
    pipe: Any, job: Job, picture: Any, chunk: int, device: torch.device, report: Report, cold: bool
) -> Measured:
    """Compile and warm up if the pipeline is `cold` for this shape, then run as often as `job.measure` asks."""

    def untimed(phase: str) -> float:
        return run_once(pipe, job, picture, chunk, device, _named(report, phase)).timing.total_s

    compile_run_s = untimed("compile") if cold and compiles(job.memory) else None
    choosing = job.memory.attention == "measured" and compile_run_s is None
    warmup_s = warm_up(job.measure, lambda: untimed("warmup"), at_least=int(choosing)) if cold else []
    first = last = run_once(pipe, job, picture, chunk, device, report)
    timings = [first.timing]
    while len(timings) < job.measure.repeats or _unsure(timings, job.measure):
        last = run_once(pipe, job, picture, chunk, device, report)
        timings.append(last.timing)
    return Measured(first, last, timings, warmup_s, compile_run_s)


def run_once(pipe: Any, job: Job, picture: Any, chunk: int, device: torch.device, report: Report) -> Output:
    """`generate` under probes of its own."""
    with StageProbe(pipe, device, report, steps_of(job)) as probe:
        return generate(pipe, job, picture, chunk, probe)


def measure_decode(
    pipe: Any,
    job: Job,
    latents: torch.Tensor,
    chunk: int,
    device: torch.device,
    report: Report,
    repeats: int,
    cold: bool,
) -> Measured:
    """Time the decode of ready `latents` `repeats` times, after one untimed decode where `measure` would have one."""

    def run(announce: Report) -> Output:
        with StageProbe(pipe, device, announce, 0, decode_only=True) as probe:
            return decode(pipe, job, latents, chunk, probe)

    compile_run_s = run(_named(report, "compile")).timing.total_s if cold and job.memory.compile_vae else None
    warm = job.measure.warmup or job.measure.until_steady
    warmup_s = [run(_named(report, "warmup")).timing.total_s] if cold and warm else []
    first = last = run(report)
    timings = [first.timing]
    for _ in range(repeats - 1):
        last = run(report)
        timings.append(last.timing)
    return Measured(first, last, timings, warmup_s, compile_run_s)


def warm_up(how: Measure, run: Callable[[], float], at_least: int = 0) -> list[float]:
    """Untimed runs, their seconds: `how.warmup` of them, or until two in a row agree."""
    seconds = [run() for _ in range(max(how.warmup, at_least))]
    while how.until_steady and len(seconds) < how.warmup_limit and not _steady(seconds):
        seconds.append(run())
    return seconds


def _unsure(timings: list[Timing], how: Measure) -> bool:
    if how.within is None or len(timings) >= how.repeats_limit:
        return False
    half_width = summarize([t.total_s for t in timings]).half_width
    return half_width is None or half_width > how.within


def _steady(seconds: list[float]) -> bool:
    return len(seconds) >= 2 and abs(seconds[-1] - seconds[-2]) <= STEADY_WITHIN * seconds[-2]


def _named(report: Report, phase: str) -> Report:
    return lambda _phase, peak_gib: report(phase, peak_gib)
