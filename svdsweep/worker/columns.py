"""From what was measured to the columns of a row: times as series, peaks, energy and untimed runs as values."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from svdsweep.probes import nvml
from svdsweep.probes.stages import Timing
from svdsweep.probes.throttling import Seen, pieced, state_columns, state_series
from svdsweep.probes.vram import Peak
from svdsweep.store.columns import STAGES
from svdsweep.store.measurements import Measurements
from svdsweep.worker.measuring import Measured


def time_series(timings: Sequence[Timing]) -> dict[str, list[Any]]:
    """The raw seconds of each repeat: of the whole, of the stages that every repeat entered, of the steps."""
    series: dict[str, list[Any]] = {"total_s": [t.total_s for t in timings]}
    for stage in STAGES:
        if seconds := [t.stage_s[stage] for t in timings if stage in t.stage_s]:
            series[f"{stage}_s"] = seconds
    steps = [t.step_s for t in timings]
    if all(steps):
        series["step_s"] = steps
    return series


def untimed_columns(measured: Measured) -> Measurements:
    """`compile_s`: what the first run of a compiled shape took beyond a steady one. `warmup_s`: all runs between."""
    columns = Measurements()
    if measured.compile_run_s is not None:
        steady_s = statistics.median(measured.total_s)
        columns.values["compile_s"] = max(0.0, measured.compile_run_s - steady_s)
    if measured.warmup_s:
        columns.values["warmup_s"] = sum(measured.warmup_s)
        columns.series["warmup_s"] = measured.warmup_s
    return columns


def first_run_notes(measured: Measured, cold: bool, device_kind: str) -> list[str]:
    """A note where times were taken in the first run of a shape on a GPU: on an H200 that run of SVD-XT took 1.2 s more
    than the next, 5 s where host memory had to be page-locked."""
    if not cold or measured.untimed_s or device_kind == "cpu":
        return []
    return [
        "timed without a warm-up: libraries start and caches are filled in the first run of a shape, a second or more "
        "on a large GPU; measure=standard runs once before"
    ]


def memory_columns(timings: Sequence[Timing]) -> Measurements:
    """Peaks of device memory (GiB), the largest over the repeats; None on a device that does not count."""
    columns, most = Measurements(), {}
    for kind in ("allocated", "reserved"):
        name = f"{kind}_gib"
        peaks = {stage: largest(getattr(t.peaks.get(stage), name, None) for t in timings) for stage in STAGES}
        most[kind] = largest(peaks.values()) or 0.0
        columns.values[f"vram_{kind}_peak_gib"] = most[kind] or None
        columns.values |= {f"{stage}_vram_{kind}_peak_gib": peak for stage, peak in peaks.items()}
    if most["reserved"] < most["allocated"]:  # some stages ran in another job: see with_shared
        columns.values["vram_reserved_peak_gib"] = None
    return columns


def largest(peaks_gib: Iterable[float | None]) -> float | None:
    """The largest of the peaks that are known; None when none is."""
    return max((peak for peak in peaks_gib if peak is not None), default=None)


def device_columns(
    before: nvml.State, after: nvml.State, total_s: Sequence[float], warmup_s: Sequence[float]
) -> Measurements:
    """Energy of one run (the warm-up's share taken out by time) and the state of the GPU after the last, by NVML."""
    columns = Measurements({"vram_process_peak_gib": after.process_gib, "vram_device_gib": after.device_gib})
    same = (
        "sm_clock_mhz",
        "memory_clock_mhz",
        "temperature_c",
        "pcie_generation",
        "pcie_width",
        "other_processes",
    )
    columns.values |= {name: getattr(after, name) for name in same}
    columns.values["energy_j"] = None
    if before.energy_j is not None and after.energy_j is not None:
        spent_j = after.energy_j - before.energy_j
        columns.values["energy_j"] = spent_j * statistics.fmean(total_s) / (sum(total_s) + sum(warmup_s))
    if after.other_processes:
        columns.notes.append(f"measured beside {after.other_processes} other processes on the GPU")
    return columns


def throttling_columns(timings: Sequence[Timing], after: nvml.State) -> Measurements:
    """Clocks over the timed runs, and what slowed the GPU down in them or was still doing so after the last."""
    runs = [timing.seen for timing in timings]
    looks: list[Seen | nvml.State] = [after, *filter(None, runs)]
    series: dict[str, list[Any]] = {"total_s": [t.total_s for t in timings], **state_series(runs)}
    columns = state_columns(series, *(look.throttle for look in looks))
    held = [look.clocks_held for look in looks if look.clocks_held is not None]
    columns.values["clocks_held"] = any(held) if held else None
    columns.series = series
    return columns


def with_shared(
    own: Sequence[Timing],
    donor: Sequence[Timing],
    own_gib: float | None = None,
    donor_gib: float | None = None,
) -> list[Timing]:
    """Timings of whole runs, made of a donor's stages before the decode and of decodes of its latents.

    `own_gib` and `donor_gib` are what the two pipelines hold on the device between runs: another decoder weighs
    something else, by which the donor's peaks are put right. Reserved peaks of the donor's stages are left out: in part
    they were kept from the donor's own decode."""
    merged = []
    more_gib = own_gib - donor_gib if own_gib is not None and donor_gib is not None else 0.0
    for decoded, whole in zip(own, donor, strict=False):
        stage_s = {**whole.stage_s, "vae_decode": decoded.stage_s["vae_decode"]}
        peaks = {stage: peak and _moved(peak, more_gib) for stage, peak in whole.peaks.items()}
        peaks["vae_decode"] = decoded.peaks["vae_decode"]
        calls = {**whole.calls, "vae_decoder": decoded.calls.get("vae_decoder", 0)}
        kept_s = whole.total_s - whole.stage_s["vae_decode"]
        calls = {**whole.calls, **{name: n for name, n in decoded.calls.items() if n}}
        seen = pieced(whole.seen, kept_s / whole.total_s, kept_s, decoded.seen, decoded.total_s)
        merged.append(Timing(kept_s + decoded.total_s, stage_s, whole.step_s, peaks, calls, seen))
    return merged


def _moved(peak: Peak, more_gib: float) -> Peak:
    allocated_gib = peak.allocated_gib
    return Peak(None if allocated_gib is None else allocated_gib + more_gib, None)
