"""One process on one device: `load` makes a worker, which loads a pipeline once and answers a row for each job."""

import gc
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import diffusers
import torch
import transformers

from svdsweep.config import Job, Measure, Metrics
from svdsweep.config.keys import canonical, digest
from svdsweep.errors import UserError
from svdsweep.images import open_image
from svdsweep.memory.apply import check_after_run, prepare
from svdsweep.memory.chunk_sizes import frames_that_fit
from svdsweep.memory.conflicts import why_not
from svdsweep.memory.contract import NoEffect
from svdsweep.memory.measured_attention import kernels_chosen
from svdsweep.memory.per_run import is_guided, steps_of
from svdsweep.models.load import load_pipeline
from svdsweep.predict.cache import known_peak_gib
from svdsweep.probes import nvml, vram
from svdsweep.probes.environment import provenance, uuid_of
from svdsweep.probes.latency import time_columns
from svdsweep.probes.out_of_memory import is_out_of_memory
from svdsweep.probes.stages import ProbeFault, Timing, hooks_on
from svdsweep.store.measurements import Measurements
from svdsweep.store.rows import Row
from svdsweep.worker.baseline import PSNR_CAP_DB, psnr_db
from svdsweep.worker.columns import (
    device_columns,
    first_run_notes,
    memory_columns,
    time_series,
    untimed_columns,
    with_shared,
)
from svdsweep.worker.contract import Report, Slot, Work
from svdsweep.worker.measuring import Measured, measure, measure_decode, run_once
from svdsweep.worker.media import ffmpeg
from svdsweep.worker.outputs import JUDGING, Judge, to_uint8

LEFTOVER_GIB = 0.05
"""More device memory than this held before a job, beyond the pipeline's own, is a leftover of the one before."""
SHARED_AT_MOST = 64
"""Latents kept for jobs that differ only in decode_chunk_size; those of 25 frames at 576×1024 take 2 MiB."""


def load(place: Slot) -> Work:
    """A worker on `place.device`. Raises UserError when that is a GPU which this process cannot use, or when videos
    could not be written: that is better known before the first minutes than behind them."""
    ffmpeg()
    torch.set_num_threads(place.threads)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    if place.device == "cpu":
        return Worker(place, torch.device("cpu"))
    if not torch.cuda.is_available():
        raise UserError(
            f"device {place.device}: PyTorch sees no such GPU. `svdsweep doctor` tells what it sees."
        )
    return Worker(place, torch.device("cuda", 0))


@dataclass
class Loaded:
    """A pipeline under its strategy, warm for the shapes in `warm`."""

    pipeline_key: str
    pipe: Any
    load_s: float
    hooks: int
    resident_gib: float | None
    warm: set[tuple[Any, ...]] = field(default_factory=set)
    noise_floor_db: dict[tuple[Any, ...], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Shared:
    """The denoise of one job, for others that only decode it differently."""

    key: str
    latents: torch.Tensor
    timings: list[Timing]


class Progress:
    """Where the worker is: told to the runner, and remembered for the row."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.phase = "load"
        self.peak_gib: float | None = None

    def __call__(self, phase: str, peak_gib: float | None = None) -> None:
        """Enter a phase; the peak is that of the one before."""
        self.phase, self.peak_gib = phase, peak_gib if peak_gib is not None else self.peak_gib
        self.report(phase, peak_gib)

    def quietly(self, _phase: str, peak_gib: float | None) -> None:
        """Pass on a peak without leaving the phase: for runs that are not the measurement."""
        self(self.phase, peak_gib)


class Worker:
    """Answers jobs; see `svdsweep.worker.contract.Work`."""

    def __init__(self, place: Slot, device: torch.device) -> None:
        self.place, self.device = place, device
        self.loaded: Loaded | None = None
        self.shared: OrderedDict[str, Shared] = OrderedDict()
        self.free_since_s: float | None = None
        """When the last run ended (`time.perf_counter`), if nothing has failed since: the device waits from then on."""

    def __call__(self, job: Job, attempt: int, report: Report) -> Row:
        """The row of a job, whatever becomes of it."""
        progress, columns = Progress(report), Measurements()
        columns.values["started_at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        columns.values["predicted_vram_gib"] = known_peak_gib(job)
        status, error = "ok", ""
        try:
            if reason := why_not(job, self.device.type):
                status, error = "rejected", reason
            else:
                self._run(job, progress, columns)
        except Exception as e:
            status, error = _outcome(e, progress.phase)
        if status in ("oom", "failed"):
            self._give_up(progress, columns)
        return Row(
            job=job,
            status=status,
            attempt=attempt,
            error=error,
            phase="" if status == "ok" else progress.phase,
            values=columns.values,
            series=columns.series,
            provenance=provenance(self.device),
            notes=columns.notes,
        )

    def _run(self, job: Job, progress: Progress, columns: Measurements) -> None:
        free_since_s, self.free_since_s = self.free_since_s, None
        loaded = self._settle(job, progress, columns)
        picture = open_image(job.image, job.height, job.width)
        self._before(loaded, columns)
        chunk = self._chunk(loaded.pipe, job)
        columns.values |= {
            "decode_frames": chunk,
            "denoise_steps": steps_of(job),
            "guided": is_guided(job),
            "fps_id": job.fps - 1,
        }
        before = nvml.read(uuid_of(self.device))
        if free_since_s is not None:
            waited_s = time.perf_counter() - free_since_s
            columns.values["idle_s"] = waited_s - (loaded.load_s if columns.values["loads"] else 0.0)
        measured, timings = self._measure(loaded, job, picture, chunk, progress, columns)
        after = nvml.read(uuid_of(self.device))
        check_after_run(loaded.pipe, job.memory, self.device)
        columns.notes += kernels_chosen(loaded.pipe, job)
        columns.series |= time_series(timings)
        columns.add(time_columns(columns.series, job.num_frames))
        columns.add(untimed_columns(measured))
        columns.add(memory_columns(timings))
        columns.add(device_columns(before, after, measured.total_s, measured.untimed_s))
        columns.values["host_ram_peak_gib"] = vram.host_peak_gib()
        columns.values["host_pinned_peak_gib"] = vram.pinned_peak_gib(self.device)
        floor = self._noise_floor(loaded, job, picture, chunk, measured, progress, columns)
        if hooks_on(loaded.pipe) != loaded.hooks:
            raise ProbeFault("the probes left hooks behind on the pipeline: later times would be wrong")
        self.free_since_s = time.perf_counter()
        judge = Judge(self.place.folder, self.device, loaded.pipe)
        columns.add(judge(job, picture, measured.first, chunk, floor, progress))
        columns.values["judge_s"] = time.perf_counter() - self.free_since_s

    def _settle(self, job: Job, progress: Progress, columns: Measurements) -> Loaded:
        """The pipeline of the job's settings: the one at hand, or a new one in its place."""
        columns.values["loads"] = 0
        if self.loaded and self.loaded.pipeline_key == job.pipeline_key:
            return self.loaded
        self._unload()
        progress("load")
        vram.cap(self.device, job.gpu.memory_limit_gib)
        vram.reset_peak(self.device)
        began = time.perf_counter()
        device = self.device if job.memory.offload == "none" else torch.device("cpu")
        pipe = load_pipeline(job.model, device, self.device)
        prepare(pipe, job.memory, self.device)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        load_s = time.perf_counter() - began
        self.loaded = Loaded(job.pipeline_key, pipe, load_s, hooks_on(pipe), vram.allocated_gib(self.device))
        columns.values |= {"load_s": load_s, "loads": 1}
        peak = vram.read_peak(self.device)
        columns.values["load_vram_allocated_peak_gib"] = peak.allocated_gib if peak else None
        gc.freeze()  # the libraries and the pipeline stay: looking through them before each job takes a quarter second
        return self.loaded

    def _before(self, loaded: Loaded, columns: Measurements) -> None:
        """An empty cache and fresh peaks; what an earlier job left on the device is told."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        held = columns.values["vram_before_gib"] = vram.allocated_gib(self.device)
        if held is not None and loaded.resident_gib is not None and held > loaded.resident_gib + LEFTOVER_GIB:
            columns.notes.append(
                f"{held - loaded.resident_gib:.2f} GiB of an earlier job were still on the device when this one began"
            )
        if not vram.reset_host_peak():
            columns.notes.append(
                "host_ram_peak_gib is the peak of the worker's life: the kernel would not reset it"
            )

    def _measure(
        self, loaded: Loaded, job: Job, picture: Any, chunk: int, progress: Progress, columns: Measurements
    ) -> tuple[Measured, list[Timing]]:
        """Run the job, or decode the latents of one that differs only in how it decodes."""
        shape = (job.num_frames, job.height, job.width, is_guided(job), chunk)
        cold = shape not in loaded.warm
        loaded.warm.add(shape)
        denoise_key = _denoise_key(job)
        shared = self.shared.get(denoise_key) if job.measure.share_latents else None
        if shared and shared.key != job.key:
            repeats = len(shared.timings)
            measured = measure_decode(
                loaded.pipe, job, shared.latents, chunk, self.device, progress, repeats, cold
            )
            columns.values["latency_shared_with"] = shared.key
            columns.notes += first_run_notes(measured, cold, self.device.type)
            return measured, with_shared(measured.timings, shared.timings)
        measured = measure(loaded.pipe, job, picture, chunk, self.device, progress, cold)
        columns.notes += first_run_notes(measured, cold, self.device.type)
        self.shared[denoise_key] = Shared(job.key, measured.first.latents, measured.timings)
        if len(self.shared) > SHARED_AT_MOST:
            self.shared.popitem(last=False)
        return measured, measured.timings

    def _chunk(self, pipe: Any, job: Job) -> int:
        if job.decode_chunk_size != "auto":
            return job.frames_per_decode
        free_gib = torch.cuda.mem_get_info(self.device)[0] / vram.GIB
        if job.gpu.memory_limit_gib is not None:
            free_gib = min(free_gib, job.gpu.memory_limit_gib - (vram.allocated_gib(self.device) or 0.0))
        return frames_that_fit(pipe, job.num_frames, job.height, job.width, free_gib)

    def _noise_floor(
        self,
        loaded: Loaded,
        job: Job,
        picture: Any,
        chunk: int,
        measured: Measured,
        progress: Progress,
        columns: Measurements,
    ) -> float | None:
        """PSNR (dB) of a baseline against its repetition, found once for a pipeline and shape; None if not asked."""
        if job.baseline != job.key or not job.measure.noise_floor:
            return None
        shape = (job.num_frames, job.height, job.width, chunk)
        if shape not in loaded.noise_floor_db:
            again = measured.last
            if again is measured.first:
                progress("noise_floor")
                again = run_once(loaded.pipe, job, picture, chunk, self.device, progress.quietly)
            db = psnr_db(to_uint8(measured.first.frames), to_uint8(again.frames))
            loaded.noise_floor_db[shape] = columns.values["noise_floor_psnr_db"] = db
            if db < PSNR_CAP_DB:
                columns.notes.append(f"the baseline repeated is not bit-equal to itself ({db:.1f} dB)")
        return loaded.noise_floor_db[shape]

    def _give_up(self, progress: Progress, columns: Measurements) -> None:
        """After a failure: the last peak, and no pipeline, whose state is unknown. What fails now, on a device that is
        lost, is told beside the first error and never in its place."""
        try:
            columns.values["vram_allocated_peak_gib"] = self._last_peak_gib(progress)
            self._unload()
        except Exception as e:
            columns.notes.append(f"the device could not be cleared after that: {_first_line(e)}")

    def _last_peak_gib(self, progress: Progress) -> float | None:
        peak = vram.read_peak(self.device)
        known = [p for p in (peak.allocated_gib if peak else None, progress.peak_gib) if p is not None]
        return max(known, default=None)

    def _unload(self) -> None:
        self.loaded = None
        self.shared.clear()
        gc.unfreeze()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _denoise_key(job: Job) -> str:
    """Of everything that a job's latents and their timing depend on: all but how they are decoded and judged."""
    return digest(
        canonical(replace(job, decode_chunk_size="all", metrics=Metrics(), measure=_timing_only(job.measure)))
    )


def _timing_only(measure: Measure) -> Measure:
    return replace(measure, share_latents=True, noise_floor=True)


def _first_line(e: BaseException) -> str:
    lines: Iterable[str] = str(e).splitlines()
    return next(iter(lines), type(e).__name__)


def _tail(e: BaseException) -> str:
    """What happened, and the last places of the code where: short enough for a table, long enough to find it."""
    places = traceback.extract_tb(e.__traceback__)[-3:]
    where = " < ".join(f"{p.filename.rsplit('/', 1)[-1]}:{p.lineno} {p.name}" for p in reversed(places))
    return f"{type(e).__name__}: {str(e).strip() or 'no message'} [{where}]"


def _outcome(e: Exception, phase: str) -> tuple[str, str]:
    """The status and error of a job that ended by `e` in a phase. A package that a strategy lacks makes it impossible;
    one that is missed afterwards, while frames are judged, says nothing about the strategy."""
    if is_out_of_memory(e):
        return "oom", _first_line(e)
    if isinstance(e, NoEffect) or (isinstance(e, ImportError) and phase not in JUDGING):
        return "rejected", str(e)
    return "failed", _tail(e)
