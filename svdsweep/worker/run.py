"""One job on a loaded pipeline: the device is cleared, the job measured, and a baseline's noise floor found."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from svdsweep.backends import backend_of
from svdsweep.config import Job, Metrics
from svdsweep.config.keys import canonical, digest
from svdsweep.images import open_image
from svdsweep.memory.apply import check_after_run
from svdsweep.memory.decode_chunk_size import frames_that_fit
from svdsweep.memory.measured_attention import kernels_chosen
from svdsweep.memory.other_decoders import passed_over
from svdsweep.memory.per_run import is_guided, steps_of
from svdsweep.metrics.contract import PSNR_CAP_DB, psnr_db
from svdsweep.metrics.shared.likeness import squared_error
from svdsweep.probes import vram
from svdsweep.probes.environment import state_of
from svdsweep.probes.latency import time_columns
from svdsweep.probes.stages import Timing
from svdsweep.store.measurements import Measurements
from svdsweep.worker import columns
from svdsweep.worker.contract import Report
from svdsweep.worker.measuring import Measured, Setup, measure, measure_decode, run_once
from svdsweep.worker.outputs import to_uint8
from svdsweep.worker.preview import Preview

LEFTOVER_GIB = 0.05
"""More device memory than this held before a job, beyond the pipeline's own, is a leftover of the one before."""
PREVIEWED = "previews were made while it was timed (runner.preview=true): denoise_s holds what they took"
NO_COLOURS = "no preview: what colours this model's latents stand for is not known"
SHARED_AT_MOST = 64
"""Latents kept for jobs that differ only in how they are decoded; those of 25 frames at 576×1024 take 2 MiB."""


@dataclass(frozen=True)
class Shared:
    """The latents of one job and its timings, for other jobs that only decode them differently."""

    key: str
    latents: torch.Tensor
    timings: list[Timing]
    resident_gib: float | None
    """What the pipeline that made them holds on the device between its runs."""


@dataclass
class Loaded:
    """A pipeline under its strategy, warm for the shapes in `warm`, with what its jobs leave for later ones; those of
    other decoders, which other pipelines run, are given the same `shared`."""

    pipeline_key: str
    pipe: Any
    load_s: float
    hooks: int
    resident_gib: float | None
    warm: set[tuple[Any, ...]] = field(default_factory=set)
    noise_floor_db: dict[tuple[Any, ...], float] = field(default_factory=dict)
    shared: OrderedDict[str, Shared] = field(default_factory=OrderedDict)


class Progress:
    """Tells the runner in which phase the worker is, and remembers it for the row, with the largest peak so far."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.phase = "load"
        self.peak_gib: float | None = None

    def __call__(self, phase: str, peak_gib: float | None = None) -> None:
        """Enter a phase; the peak is that of the one before."""
        self.phase, self.peak_gib = phase, columns.largest((self.peak_gib, peak_gib))
        self.report(phase, peak_gib)

    def quietly(self, _phase: str, peak_gib: float | None) -> None:
        """Pass on a peak without leaving the phase: for runs that are not the measurement."""
        self(self.phase, peak_gib)


@dataclass(frozen=True)
class Run:
    """A job on its pipeline. What is seen gathers in `measurements`, so that a failure loses none of it."""

    setup: Setup
    loaded: Loaded
    progress: Progress
    measurements: Measurements

    def measure(self) -> Measured:
        """Run the job, and add its times, peaks, energy and what its strategy chose. Raises NoEffect for a strategy
        that did nothing, and whatever the pipeline raises."""
        job, device = self.setup.job, self.setup.device
        before = state_of(device)
        measured, timings = self._measured()
        after = state_of(device)
        check_after_run(self.setup.pipe, job.memory, device)
        self.measurements.notes += kernels_chosen(self.setup.pipe, job)
        self.measurements.notes += filter(None, [backend_of(device).blind])
        self.measurements.series |= columns.time_series(timings) | measured.over_time
        times = time_columns(self.measurements.series, job.num_frames, job.measure.first_look)
        self.measurements.add(times)
        self.measurements.add(columns.untimed_columns(measured))
        self.measurements.add(columns.memory_columns(timings))
        self.measurements.add(columns.device_columns(before, after, measured.total_s, measured.untimed_s))
        self.measurements.add(columns.throttling_columns(timings, after))
        self.measurements.values["unet_calls"] = timings[0].calls.get("unet")
        self.measurements.values["host_ram_peak_gib"] = vram.host_peak_gib()
        self.measurements.values["host_pinned_peak_gib"] = vram.pinned_peak_gib(device)
        return measured

    def _measured(self) -> tuple[Measured, list[Timing]]:
        """Run the job, or decode the latents of one that differs only in how it decodes."""
        job, loaded = self.setup.job, self.loaded
        shape = (job.num_frames, job.height, job.width, is_guided(job), self.setup.chunk)
        cold = shape not in loaded.warm
        loaded.warm.add(shape)
        # all that latents and their timing depend on: the job but for how it is decoded and judged
        how = replace(job.measure, share_latents=True, noise_floor=True)
        model = replace(job.model, decoder="temporal", decoder_source="", decoder_revision=None)
        alike = replace(job, model=model, decode_chunk_size="all", metrics=Metrics(), measure=how)
        denoise_key = digest(canonical(alike))
        shared = loaded.shared.get(denoise_key) if job.measure.share_latents else None
        if shared and shared.key != job.key:
            repeats = len(shared.timings)
            measured = measure_decode(self.setup, shared.latents, repeats, self.progress, cold)
            timings = columns.with_shared(
                measured.timings, shared.timings, loaded.resident_gib, shared.resident_gib
            )
            self.measurements.values["latency_shared_with"] = shared.key
        else:
            measured = measure(self.setup, self.progress, cold)
            timings = measured.timings
            if self.setup.preview:
                self.measurements.notes += preview_notes(job, self.setup.preview.shown)
            latents = measured.first.latents
            loaded.shared[denoise_key] = Shared(job.key, latents, timings, loaded.resident_gib)
            if len(loaded.shared) > SHARED_AT_MOST:
                loaded.shared.popitem(last=False)
        self.measurements.notes += columns.first_run_notes(measured, cold, backend_of(self.setup.device).kind)
        return measured, timings

    def noise_floor_db(self, measured: Measured) -> float | None:
        """PSNR (dB) of a baseline against its repetition, found once for a pipeline and shape; None if not asked."""
        job, floors = self.setup.job, self.loaded.noise_floor_db
        if job.baseline != job.key or not job.measure.noise_floor:
            return None
        shape = (job.num_frames, job.height, job.width, self.setup.chunk, job.model.scheduler)
        if shape not in floors:
            again = measured.last
            if again is measured.first:
                self.progress("noise_floor")
                again = run_once(self.setup, self.progress.quietly)
            db = psnr_db(squared_error(to_uint8(measured.first.frames), to_uint8(again.frames)))
            floors[shape] = self.measurements.values["noise_floor_psnr_db"] = db
            if db < PSNR_CAP_DB:
                note = f"the baseline repeated is not bit-equal to itself ({db:.1f} dB)"
                self.measurements.notes.append(note)
        return floors[shape]


def preview_notes(job: Job, shown: int) -> list[str]:
    """What a row tells of its job's preview, of which so many steps were shown."""
    if not shown and (job.measure.timed_once or job.measure.warmup):
        return [NO_COLOURS]
    return [PREVIEWED] if shown and job.measure.timed_once else []


def begin(
    job: Job,
    loaded: Loaded,
    device: torch.device,
    progress: Progress,
    measurements: Measurements,
    alone: Callable[[], None] = lambda: None,
    preview: Preview | None = None,
) -> Run:
    """Clear the device for a job and settle what it runs with: its picture and the frames of a decode; `alone` as
    `Setup` has it."""
    picture = open_image(job.image, job.height, job.width)
    _clear(loaded, device, measurements)
    chunk = _chunk(loaded.pipe, job, device)
    measurements.values |= {"decode_frames": 1 if job.decodes_by_frame else chunk}
    measurements.values |= {"denoise_steps": steps_of(job)}
    measurements.notes += passed_over(job)
    measurements.values |= {"guided": is_guided(job), "fps_id": job.fps - 1}
    setup = Setup(loaded.pipe, job, picture, chunk, device, alone, preview)
    return Run(setup, loaded, progress, measurements)


def _clear(loaded: Loaded, device: torch.device, measurements: Measurements) -> None:
    """Empty the cache and forget peaks; a note tells what an earlier job left on the device."""
    vram.empty_cache(device)
    held = measurements.values["vram_before_gib"] = vram.allocated_gib(device)
    if held is not None and loaded.resident_gib is not None and held > loaded.resident_gib + LEFTOVER_GIB:
        measurements.notes.append(
            f"{held - loaded.resident_gib:.2f} GiB of an earlier job were still on the device when this one began"
        )
    if not vram.reset_host_peak():
        note = "host_ram_peak_gib is the peak of the worker's life: the kernel would not reset it"
        measurements.notes.append(note)


def _chunk(pipe: Any, job: Job, device: torch.device) -> int:
    """The frames of one decode; for `auto` as many as the free device memory holds."""
    if job.decode_chunk_size != "auto" or job.decodes_by_frame:
        return job.frames_per_decode
    free_gib = vram.free_gib(device)
    if job.gpu.memory_limit_gib is not None:
        free_gib = min(free_gib, job.gpu.memory_limit_gib - (vram.allocated_gib(device) or 0.0))
    return frames_that_fit(pipe, job.num_frames, job.height, job.width, free_gib)
