"""The worker that every runner starts: `load` makes one, which loads a pipeline once and answers a row for each job."""

import gc
import threading
import time
import traceback
from collections import OrderedDict
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from svdsweep.backends import backend_of
from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.images import ffmpeg
from svdsweep.memory.apply import prepare
from svdsweep.memory.conflicts import why_not
from svdsweep.memory.contract import NoEffect
from svdsweep.memory.other_decoders import applied
from svdsweep.metrics import need_the_device
from svdsweep.models.load import load_pipeline
from svdsweep.predict.cache import known_peak_gib
from svdsweep.probes import vram
from svdsweep.probes.devices import torch_type
from svdsweep.probes.environment import provenance
from svdsweep.probes.out_of_memory import is_out_of_memory
from svdsweep.probes.stages import ProbeFault, hooks_on
from svdsweep.store.defects import defect
from svdsweep.store.measurements import Measurements
from svdsweep.store.places import preview_of
from svdsweep.store.rows import WHOLE, Row
from svdsweep.worker.columns import largest
from svdsweep.worker.contract import CPU_INSTEAD, Judge, Report, Slot, Work
from svdsweep.worker.outputs import JUDGING, Made, NotFinite, judge
from svdsweep.worker.preview import Preview
from svdsweep.worker.run import Loaded, Progress, Shared, begin


def load(slot: Slot) -> Work:
    """A worker on `slot.device`. Raises UserError when that is a GPU which this process cannot use, or when videos
    could not be written: better now than after the first minutes of work."""
    ffmpeg.check()
    torch.set_num_threads(slot.threads)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    gc.freeze()  # the libraries stay: looking for garbage among them takes a quarter second, once a pipeline
    name = torch_type(slot.device)
    device = torch.device(name) if name == "cpu" else torch.device(name, 0)
    if not backend_of(device).available():
        raise UserError(
            f"device {slot.device}: PyTorch sees no such GPU. `svdsweep doctor` tells what it sees."
        )
    return Worker(slot, device)


class Worker:
    """Answers jobs; see `svdsweep.worker.contract.Work`."""

    def __init__(self, slot: Slot, device: torch.device) -> None:
        self.slot, self.device = slot, device
        self.loaded: Loaded | None = None
        self.shared: OrderedDict[str, Shared] = OrderedDict()
        """Latents of the jobs so far, which later ones decode otherwise."""
        gpu = torch.accelerator.current_accelerator(check_available=True) if slot.for_want_of_a_gpu else None
        self.doubts = [f"{CPU_INSTEAD} ({gpu.type}); `svdsweep doctor` tells more"] if gpu else []
        """What every row must tell."""
        self.spare_cores = slot.judge_beside and device.type != "cpu"
        """Whether frames are judged beside the next job."""
        self.free_since_s: float | None = None
        """When the last run ended (`time.perf_counter`), if nothing has failed since: the device waits from then on."""
        self.judged = threading.Event()
        """Set when the last job that was left to be judged beside has been judged."""
        self.judged.set()

    def __call__(self, job: Job, attempt: int, report: Report) -> Row | Judge:
        """The row of a job, whatever becomes of it, or what makes it beside the next job."""
        progress, measurements = Progress(report), Measurements()
        measurements.notes += self.doubts
        measurements.values["started_at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        measurements.values["predicted_vram_gib"] = known_peak_gib(job)
        status, error, made = "ok", "", None
        try:
            if reason := why_not(job, backend_of(self.device).kind):
                status, error = "rejected", reason
            else:
                made = self._run(job, progress, measurements)
        except Exception as e:
            status, error = _outcome(e, progress.phase)
        if status in ("oom", "failed"):
            self._give_up(progress, measurements)
        phase = "" if status in WHOLE else progress.phase
        row = Row(
            job, status, attempt, error, phase, provenance=provenance(self.device), **vars(measurements)
        )
        if made is None:
            return row
        if made.pipe:
            return _judged(row, made, self.slot.folder, progress)
        judged = self.judged = threading.Event()  # another one's end is not this one's

        def judging() -> Row:
            try:
                return _judged(row, made, self.slot.folder, progress)
            finally:
                judged.set()

        return judging

    def _run(self, job: Job, progress: Progress, measurements: Measurements) -> Made:
        free_since_s, self.free_since_s = self.free_since_s, None
        loaded = self._settle(job, progress, measurements)
        path = preview_of(self.slot.folder, job.key) if self.slot.preview else None
        with closing(Preview(path)) if path else nullcontext() as preview:
            alone = partial(self._alone, job, measurements)
            run = begin(job, loaded, self.device, progress, measurements, alone, preview)
            if free_since_s is not None:
                loading_s = loaded.load_s if measurements.values["loads"] else 0.0
                measurements.values["idle_s"] = time.perf_counter() - free_since_s - loading_s
            measured = run.measure()
            noise_floor_db = run.noise_floor_db(measured)
        if hooks_on(loaded.pipe) != loaded.hooks:
            raise ProbeFault("the probes left hooks behind on the pipeline: later times would be wrong")
        self.free_since_s = time.perf_counter()
        beside = self.spare_cores and not need_the_device(job.metrics.families)
        pipe = None if beside else loaded.pipe
        setup = run.setup
        return Made(job, setup.picture, setup.chunk, measured.first, noise_floor_db, self.device, pipe)

    def _alone(self, job: Job, measurements: Measurements) -> None:
        """Wait for the judge of the job before, unless this one is timed once. Its memory is no longer of the peak, and
        the device was idle meanwhile."""
        if job.measure.timed_once or self.judged.is_set():
            return
        began_s = time.perf_counter()
        self.judged.wait()
        vram.reset_host_peak()
        if isinstance(idle_s := measurements.values.get("idle_s"), float):
            measurements.values["idle_s"] = idle_s + time.perf_counter() - began_s

    def _settle(self, job: Job, progress: Progress, measurements: Measurements) -> Loaded:
        """The pipeline of the job's settings: the one at hand, or a new one in its place."""
        measurements.values["loads"] = 0
        if self.loaded and self.loaded.pipeline_key == job.pipeline_key:
            _add_lora(self.loaded.pipe, job, measurements)
            return self.loaded
        if self.loaded:
            self._unload()
        progress("load")
        vram.cap(self.device, job.gpu.memory_limit_gib)
        vram.reset_peak(self.device)
        began = time.perf_counter()
        device = self.device if job.memory.offload == "none" else torch.device("cpu")
        pipe = load_pipeline(job.model, device, self.device)
        _add_lora(pipe, job, measurements)
        prepare(pipe, applied(job), self.device)
        backend_of(self.device).synchronize(self.device)
        load_s = time.perf_counter() - began
        resident_gib = vram.allocated_gib(self.device)
        # rounds are compared with one another: what one shares with another pipeline would be of an earlier round
        shared = self.shared if job.measure.rounds == 1 else OrderedDict()
        self.loaded = Loaded(job.pipeline_key, pipe, load_s, hooks_on(pipe), resident_gib, shared=shared)
        measurements.values |= {"load_s": load_s, "loads": 1}
        peak = vram.read_peak(self.device)
        measurements.values["load_vram_allocated_peak_gib"] = peak.allocated_gib if peak else None
        return self.loaded

    def _give_up(self, progress: Progress, measurements: Measurements) -> None:
        """After a failure keep the largest peak, and no pipeline, whose state is unknown. What fails here, on a device
        that is lost, becomes a note beside the first error and never takes its place."""
        try:
            peak = vram.read_peak(self.device)
            peaks_gib = (peak.allocated_gib if peak else None, progress.peak_gib)
            measurements.values["vram_allocated_peak_gib"] = largest(peaks_gib)
            self._unload()
        except Exception as e:
            measurements.notes.append(f"the device could not be cleared after that: {_first_line(e)}")

    def _unload(self) -> None:
        self.loaded = None
        vram.empty_cache(self.device)


def _add_lora(pipe: Any, job: Job, measurements: Measurements) -> None:
    """Have as much of the LoRA in the UNet's weights as the job asks for, if it has any, and tell its rank."""
    if lora := getattr(pipe, "fused_lora", None):
        lora.set(job.model.lora_scale)
        measurements.values["lora_rank"] = lora.rank


def _judged(row: Row, made: Made, folder: Path, progress: Progress) -> Row:
    """The row with what its frames show."""
    began_s = time.perf_counter()
    try:
        columns = judge(made, folder, progress)
    except Exception as e:
        status, error = _outcome(e, progress.phase)
        return replace(row, status=status, error=error, phase=progress.phase)
    values = {**row.values, **columns.values, "judge_s": time.perf_counter() - began_s}
    broken = defect(made.job, values)
    return replace(
        row,
        status="defective" if broken else row.status,
        error=broken,
        values=values,
        series={**row.series, **columns.series},
        notes=[*row.notes, *columns.notes],
    )


def _first_line(e: BaseException) -> str:
    return next(iter(str(e).splitlines()), type(e).__name__)


def _outcome(e: Exception, phase: str) -> tuple[str, str]:
    """The status and error of a job that ended by `e` in a phase. A package that a strategy lacks makes it impossible;
    one that is missed afterwards, while frames are judged, says nothing about the strategy."""
    if is_out_of_memory(e):
        return "oom", _first_line(e)
    if isinstance(e, NotFinite):
        return "failed", str(e)
    if isinstance(e, NoEffect) or (isinstance(e, ImportError) and phase not in JUDGING):
        return "rejected", str(e)
    places = traceback.extract_tb(e.__traceback__)[-3:]  # short enough for a table
    where = " < ".join(f"{p.filename.rsplit('/', 1)[-1]}:{p.lineno} {p.name}" for p in reversed(places))
    return "failed", f"{type(e).__name__}: {str(e).strip() or 'no message'} [{where}]"
