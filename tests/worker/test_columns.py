"""From what was measured to columns: peaks, energy, raw times, and decodes that share another job's denoise."""

from typing import Any

import pytest
from bare_columns import OUTSIDE_THE_CATALOGUE, PURE_NUMBERS

from svdsweep.metrics import CATALOGUE
from svdsweep.probes.latency import time_columns
from svdsweep.probes.nvml import State
from svdsweep.probes.stages import Timing
from svdsweep.probes.vram import Peak
from svdsweep.store.columns import STAGES
from svdsweep.worker.columns import device_columns, first_run_notes, memory_columns, time_series, with_shared
from svdsweep.worker.measuring import Measured


def timing(total_s: float = 4.0, peak: float | None = 2.0) -> Timing:
    peaks = {stage: Peak(peak, peak + 1) if peak is not None else None for stage in STAGES}
    return Timing(total_s, dict.fromkeys(STAGES, total_s / 4), [total_s / 8] * 2, peaks)


def test_every_number_that_a_gpu_adds_has_a_unit_or_is_bare_on_purpose() -> None:
    clocks = {"sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "temperature_c": 60, "other_processes": 1}
    before, after = State(energy_j=1.0), State(energy_j=9.0, process_gib=3.0, device_gib=4.0, **clocks)
    values = memory_columns([timing()]).values | device_columns(before, after, [1.0], []).values
    numbers = [name for name, value in values.items() if isinstance(value, int | float)]
    assert {"vram_reserved_peak_gib", "energy_j", "sm_clock_mhz"} <= set(numbers)
    for name in numbers:
        if name not in OUTSIDE_THE_CATALOGUE:
            assert CATALOGUE[name].unit or name in PURE_NUMBERS, name


def test_times_are_medians_and_the_geometric_mean_stands_beside_them() -> None:
    runs, steps = [1.0, 2.0, 32.0], [[1.0, 2.0], [2.0, 40.0], [2.0, 40.0]]
    series = {"total_s": runs, "step_s": steps, **{f"{stage}_s": runs for stage in STAGES}}
    values = time_columns(series, num_frames=14).values
    assert {values[f"{part}_s"] for part in ("total", "step", *STAGES)} == {2.0}
    assert (values["total_s_min"], values["total_s_max"], values["frames_per_s"]) == (1.0, 32.0, 7.0)
    assert values["total_s_geometric_mean"] == pytest.approx(4.0)


def test_energy_is_that_of_one_run_and_company_is_flagged() -> None:
    before, after = State(energy_j=100.0), State(energy_j=500.0, throttle="power cap", other_processes=2)
    columns = device_columns(before, after, total_s=[1.0, 1.0], warmup_s=[2.0])
    assert columns.values["energy_j"] == pytest.approx(100.0)
    assert any("power cap" in note for note in columns.notes)
    assert any("2 other processes" in note for note in columns.notes)
    assert device_columns(State(), State(), [1.0], []).values["energy_j"] is None


def test_peaks_are_the_largest_over_stages_and_repeats() -> None:
    values = memory_columns([timing(peak=2.0), timing(peak=3.0)]).values
    assert (values["vram_allocated_peak_gib"], values["vram_reserved_peak_gib"]) == (3.0, 4.0)
    assert values["denoise_vram_allocated_peak_gib"] == 3.0
    assert memory_columns([timing(peak=None)]).values["vram_allocated_peak_gib"] is None


def test_a_shared_denoise_and_an_own_decode_make_one_run() -> None:
    own = Timing(5.0, {"vae_decode": 5.0}, [], {"vae_decode": Peak(9.0, 9.5)})
    [merged] = with_shared([own], [timing()])
    assert merged.total_s == pytest.approx(3.0 + 5.0)
    assert merged.stage_s == {**dict.fromkeys(STAGES, 1.0), "vae_decode": 5.0}
    assert memory_columns([merged]).values["vram_allocated_peak_gib"] == 9.0


def test_what_a_donors_allocator_kept_is_not_the_shared_jobs() -> None:
    """An H200 showed it: a whole decode leaves 59.8 GiB in the cache, which a decode in chunks never takes."""
    donor = timing()
    donor.peaks["denoise"] = Peak(12.0, 59.8)
    own = Timing(5.0, {"vae_decode": 5.0}, [], {"vae_decode": Peak(13.3, 22.9)})
    values = memory_columns(with_shared([own], [donor])).values
    assert (values["vram_allocated_peak_gib"], values["vram_reserved_peak_gib"]) == (13.3, 22.9)
    assert (values["denoise_vram_allocated_peak_gib"], values["denoise_vram_reserved_peak_gib"]) == (
        12.0,
        None,
    )
    small = Timing(5.0, {"vae_decode": 5.0}, [], {"vae_decode": Peak(5.0, 6.0)})
    values = memory_columns(with_shared([small], [donor])).values
    assert (values["vram_allocated_peak_gib"], values["vram_reserved_peak_gib"]) == (12.0, None)


@pytest.mark.parametrize(
    ("cold", "warmup_s", "kind", "told"),
    [
        (True, [], "cuda", True),
        (True, [4.2], "cuda", False),
        (False, [], "cuda", False),
        (True, [], "cpu", False),
    ],
)
def test_a_first_run_that_was_timed_says_so(cold: bool, warmup_s: list[float], kind: str, told: bool) -> None:
    output: Any = None
    measured = Measured(output, output, [timing()], warmup_s)
    notes = first_run_notes(measured, cold, kind)
    assert bool(notes) is told
    assert all("without a warm-up" in note for note in notes)


def test_outliers_spread_and_rise_of_repeats_are_noted_and_kept() -> None:
    series = time_series([timing(t) for t in (1.0, 1.01, 1.0, 0.99, 1.0, 5.0)])
    columns = time_columns(series, num_frames=14)
    assert any("number 6" in note for note in columns.notes)
    assert any("varies by more than" in note for note in columns.notes)
    assert series["total_s"][-1] == 5.0 == columns.values["total_s_max"]
    rising = time_columns(time_series([timing(1 + i / 100) for i in range(6)]), num_frames=14)
    assert any("rises over the repeats" in note for note in rising.notes)
