"""From what was measured to the columns of a row: medians and peaks as values, raw repeats and steps as series."""

import statistics
from collections.abc import Sequence

from svdsweep.config import Job
from svdsweep.probes import nvml
from svdsweep.probes.gathering import Columns
from svdsweep.probes.measuring import Measured
from svdsweep.probes.stages import STAGES, Timing
from svdsweep.probes.statistics import drift, median_interval, summarize

NOISY = 0.10
"""A range above this share of the median gets a note."""


def time_columns(timings: Sequence[Timing], job: Job) -> Columns:
    """Seconds of the whole, the stages and the steps (medians), frames a second, and intervals of the whole:
    `total_s_low` and `_high` of the geometric mean from 3 repeats, `total_s_median_*` of the median from 6."""
    totals = [t.total_s for t in timings]
    summary = summarize(totals)
    low, high = median_interval(totals) or (None, None)
    columns = Columns(
        values={
            "total_s": summary.median,
            "total_s_low": summary.low,
            "total_s_high": summary.high,
            "total_s_median_low": low,
            "total_s_median_high": high,
            "total_s_min": summary.minimum,
            "total_s_max": summary.maximum,
            "total_s_geometric_mean": summary.geometric_mean,
            "frames_per_s": job.num_frames / summary.median,
            "repeats": len(totals),
        },
        series={"total_s": totals},
    )
    for stage in STAGES:
        seconds = [t.stage_s[stage] for t in timings if stage in t.stage_s]
        if seconds:
            columns.values[f"{stage}_s"] = statistics.median(seconds)
            columns.series[f"{stage}_s"] = seconds
    steps = [t.step_s for t in timings]
    if all(steps):
        columns.values["step_s"] = statistics.median(s for run in steps for s in run)
        columns.series["step_s"] = steps
    if summary.outliers:
        columns.notes.append(
            f"outliers among the repeats of total_s, kept: number {_numbers(summary.outliers)}"
        )
    if len(totals) > 1 and summary.maximum - summary.minimum > NOISY * summary.median:
        columns.notes.append(f"total_s varies by more than {NOISY:.0%} over the repeats")
    if (rho := drift(totals)) is not None and rho > 0.5:
        columns.notes.append(f"total_s rises over the repeats (rank correlation {rho:.2f})")
    return columns


def untimed_columns(measured: Measured) -> Columns:
    """`compile_s`: what the first run of a compiled shape took beyond a steady one. `warmup_s`: all runs between."""
    columns = Columns()
    if measured.compile_run_s is not None:
        steady_s = statistics.median(measured.total_s)
        columns.values["compile_s"] = max(0.0, measured.compile_run_s - steady_s)
    if measured.warmup_s:
        columns.values["warmup_s"] = sum(measured.warmup_s)
        columns.series["warmup_s"] = measured.warmup_s
    return columns


def memory_columns(timings: Sequence[Timing]) -> Columns:
    """Peaks of device memory (GiB), the largest over the repeats; None on a device that does not count."""
    columns = Columns()
    for kind in ("allocated", "reserved"):
        peaks = {
            stage: max(
                (getattr(p, f"{kind}_gib") for t in timings if (p := t.peaks.get(stage))), default=None
            )
            for stage in STAGES
        }
        known = [p for p in peaks.values() if p is not None]
        columns.values[f"vram_{kind}_peak_gib"] = max(known, default=None)
        columns.values |= {f"{stage}_vram_{kind}_peak_gib": peak for stage, peak in peaks.items()}
    return columns


def device_columns(
    before: nvml.State, after: nvml.State, total_s: Sequence[float], warmup_s: Sequence[float]
) -> Columns:
    """Energy of one run (the warm-up's share taken out by time) and the state of the GPU, by NVML."""
    columns = Columns(
        values={
            "vram_process_peak_gib": after.process_gib,
            "vram_device_gib": after.device_gib,
            "sm_clock_mhz": after.sm_clock_mhz,
            "memory_clock_mhz": after.memory_clock_mhz,
            "temperature_c": after.temperature_c,
            "throttle": after.throttle,
            "other_processes": after.other_processes,
            "energy_j": None,
        }
    )
    if before.energy_j is not None and after.energy_j is not None:
        spent_j = after.energy_j - before.energy_j
        columns.values["energy_j"] = spent_j * statistics.fmean(total_s) / (sum(total_s) + sum(warmup_s))
    if after.throttle:
        columns.notes.append(f"the GPU was slowed down: {after.throttle}")
    if after.other_processes:
        columns.notes.append(f"measured beside {after.other_processes} other processes on the GPU")
    return columns


def with_shared(own: Sequence[Timing], donor: Sequence[Timing]) -> list[Timing]:
    """Timings of whole runs, made of a donor's stages before the decode and of decodes of its latents."""
    merged = []
    for decoded, whole in zip(own, donor, strict=False):
        stage_s = {**whole.stage_s, "vae_decode": decoded.stage_s["vae_decode"]}
        peaks = {**whole.peaks, "vae_decode": decoded.peaks["vae_decode"]}
        total_s = whole.total_s - whole.stage_s["vae_decode"] + decoded.total_s
        merged.append(Timing(total_s, stage_s, whole.step_s, peaks, decoded.calls))
    return merged


def _numbers(places: Sequence[int]) -> str:
    return ", ".join(str(i + 1) for i in places)
