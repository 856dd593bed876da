"""How often a job runs: warm-up, timed repeats, and the decode of latents that another job has made."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from svdsweep.backends import backend_of
from svdsweep.config import Job, Measure
from svdsweep.memory import step_cache
from svdsweep.memory.compile import compiles
from svdsweep.memory.per_run import arguments, different_turns, steps_of, turns_of
from svdsweep.models.schedulers import scheduled
from svdsweep.probes.latency import wants_more
from svdsweep.probes.over_time import OverTime, looking
from svdsweep.probes.stages import Report, StageProbe, Timing
from svdsweep.probes.watch import watched
from svdsweep.worker.preview import Preview

STEADY_WITHIN = 0.05
"""Two untimed runs in a row closer than this share: the pipeline is warm."""


@dataclass(frozen=True)
class Setup:
    """What all runs of a job share: the loaded pipeline, the conditioning picture, the frames of one decode."""

    pipe: Any
    job: Job
    picture: Any
    chunk: int
    device: torch.device
    alone: Callable[[], None] = lambda: None
    """Waits until nothing runs beside that would disturb a time: to be called before the first that counts."""
    preview: Preview | None = None


@dataclass(frozen=True)
class Output:
    """One run: `frames` (F, H, W, 3) float32, 0–1; final `latents` (1, F, C, h, w) on the host; and its times."""

    frames: NDArray[np.float32]
    latents: torch.Tensor
    timing: Timing


@dataclass(frozen=True)
class Measured:
    """All runs of a job. `warmup_s` are the seconds of the untimed ones, in order, `compile_run_s` those of the run
    before them, in which torch.compile did its work."""

    first: Output
    last: Output
    timings: list[Timing]
    warmup_s: list[float] = field(default_factory=list)
    compile_run_s: float | None = None
    over_time: dict[str, list[list[float]]] = field(default_factory=dict)
    """Series of the memory that a GPU held over the first untimed run, where it could be asked."""

    @property
    def total_s(self) -> list[float]:
        """The seconds of each timed run."""
        return [t.total_s for t in self.timings]

    @property
    def untimed_s(self) -> list[float]:
        """The seconds of every other run."""
        return [*([self.compile_run_s] if self.compile_run_s is not None else []), *self.warmup_s]


def generate(setup: Setup, probe: StageProbe) -> Output:
    """One whole run; all runs of a seed start from the same noise, drawn on the host."""
    pipe, job = setup.pipe, setup.job
    config = pipe.scheduler.config
    ends = (
        float(config.sigma_min or pipe.scheduler.sigmas[-2]),
        float(config.sigma_max or pipe.scheduler.sigmas[0]),
    )
    generator = torch.Generator("cpu").manual_seed(job.seed)
    asked = {**arguments(job, *ends), "generator": generator, "decode_chunk_size": setup.chunk}
    step_cache.begin(pipe, job)
    if spares := getattr(pipe, "whole_unet_calls", None):
        spares.count = 0
    with scheduled(pipe, job.model.scheduler, generator), _seen(setup):
        probe.start()
        frames = pipe(setup.picture, **asked, output_type="np", callback_on_step_end=probe.step).frames[0]
        timing = probe.finish()
    if spares:
        timing = replace(timing, calls={**timing.calls, "unet": spares.count})
    assert probe.latents is not None
    return Output(frames, probe.latents.cpu(), timing)


def _seen(setup: Setup) -> AbstractContextManager[None]:
    """The preview looks at the scheduler of the run, whichever that is."""
    return setup.preview.of(setup.pipe) if setup.preview else nullcontext()


def decode(setup: Setup, latents: torch.Tensor, probe: StageProbe) -> Output:
    """The decode alone, of latents (1, F, C, h, w) that the same settings made: equal to that of a whole run."""
    pipe = setup.pipe
    on_device = latents.to(pipe._execution_device)
    with torch.no_grad():
        probe.start()
        video = pipe.decode_latents(on_device, setup.job.num_frames, setup.chunk)
        frames = pipe.video_processor.postprocess_video(video, output_type="np")[0]
        timing = probe.finish()
    pipe.maybe_free_model_hooks()
    return Output(frames, latents, timing)


def run_once(setup: Setup, report: Report) -> Output:
    """`generate` under probes of its own."""
    job = setup.job
    with StageProbe(setup.pipe, setup.device, report, steps_of(job), turns=turns_of(job)) as probe:
        return generate(setup, probe)


def measure(setup: Setup, report: Report, cold: bool) -> Measured:
    """Compile and warm up if the pipeline is `cold` for this shape, then run as often as `job.measure` asks."""
    how, memory = setup.job.measure, setup.job.memory
    compiled = cold and compiles(memory)
    if memory.attention == "measured" and not compiled:  # it chooses in the first run
        how = replace(how, warmup=max(how.warmup, 1))
    alone = setup if how.timed_once else replace(setup, preview=None)
    runs = partial(run_once, alone), partial(run_once, setup)
    return _measured(*runs, how, report, cold, compiled, setup)


def measure_decode(setup: Setup, latents: torch.Tensor, repeats: int, report: Report, cold: bool) -> Measured:
    """Time the decode of ready `latents` `repeats` times, after one untimed decode where `measure` would have one."""
    asked = setup.job.measure
    warmup = int(asked.warmup > 0 or asked.until_steady)
    how = replace(asked, warmup=warmup, until_steady=False, repeats=repeats, within=None)

    def run(report: Report) -> Output:
        with StageProbe(setup.pipe, setup.device, report, 0, decode_only=True) as probe:
            return decode(setup, latents, probe)

    return _measured(run, run, how, report, cold, cold and setup.job.memory.compile_vae, setup)


def _measured(
    run: Callable[[Report], Output],
    run_untimed: Callable[[Report], Output],
    how: Measure,
    report: Report,
    cold: bool,
    compiled: bool,
    setup: Setup,
) -> Measured:
    """All runs of a job: the one in which something is `compiled`, the warm-up, and the timed ones, of which each is
    watched on the device."""

    def untimed_s(phase: str) -> float:
        return run_untimed(lambda _phase, peak_gib: report(phase, peak_gib)).timing.total_s

    def timed() -> Output:
        with watched(setup.device) as watch:
            output = run(report)
        seen = watch.seen(output.timing.total_s)
        return replace(output, timing=replace(output.timing, seen=seen)) if seen else output

    over_time: dict[str, list[list[float]]] = {}

    def warmup_s_of_one() -> float:
        if over_time or not may_look(setup):
            return untimed_s("warmup")
        with looking(OverTime(setup.device, setup.pipe.unet, different_turns(setup.job))) as seen:
            seconds = run_untimed(partial(_enter, seen, report)).timing.total_s
        over_time.update(seen.series())
        return seconds

    compile_run_s = untimed_s("compile") if compiled else None
    if how.until_steady:  # the times of its warm-up decide when it ends
        setup.alone()
    warmup_s = warm_up(how, warmup_s_of_one) if cold else []
    setup.alone()
    first = last = timed()
    timings = [first.timing]
    while wants_more([t.total_s for t in timings], how):
        last = timed()
        timings.append(last.timing)
    return Measured(first, last, timings, warmup_s, compile_run_s, over_time)


def may_look(setup: Setup) -> bool:
    """Whether memory can be read as modules end: the device counts, nothing is compiled, and no kernel is chosen in
    that run, for which several are tried."""
    memory = setup.job.memory
    counts = backend_of(setup.device).highest(setup.device) is not None
    return counts and not compiles(memory) and memory.attention != "measured"


def _enter(seen: OverTime, report: Report, stage: str, peak_gib: float | None) -> None:
    """Tell of a warm-up that comes to a stage."""
    seen.enter(stage)
    known = [gib for gib in (peak_gib, seen.peak_gib) if gib is not None]
    report("warmup", max(known, default=None))


def warm_up(how: Measure, run: Callable[[], float]) -> list[float]:
    """The seconds of untimed runs: `how.warmup` of them, or so many until two in a row agree."""
    seconds = [run() for _ in range(how.warmup)]
    while how.until_steady and len(seconds) < how.warmup_limit and not _steady(seconds):
        seconds.append(run())
    return seconds


def _steady(seconds: list[float]) -> bool:
    return len(seconds) >= 2 and abs(seconds[-1] - seconds[-2]) <= STEADY_WITHIN * seconds[-2]
