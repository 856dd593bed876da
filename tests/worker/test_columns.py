"""From what was measured to columns: peaks, energy, raw times, and decodes that share another job's denoise."""

from dataclasses import replace
from typing import Any

import pytest
from bare_columns import OUTSIDE_THE_CATALOGUE, PURE_NUMBERS

from svdsweep.metrics import CATALOGUE
from svdsweep.probes.nvml import State
from svdsweep.probes.stages import Timing
from svdsweep.probes.throttling import Seen
from svdsweep.probes.vram import Peak
from svdsweep.store.columns import STAGES
from svdsweep.worker.columns import (
    device_columns,
    first_run_notes,
    memory_columns,
    throttling_columns,
    time_series,
    untimed_columns,
    with_shared,
)
from svdsweep.worker.measuring import Measured


def timing(total_s: float = 4.0, peak: float | None = 2.0) -> Timing:
    peaks = {stage: Peak(peak, peak + 1) if peak is not None else None for stage in STAGES}
    return Timing(total_s, dict.fromkeys(STAGES, total_s / 4), [total_s / 8] * 2, peaks)


def test_every_number_that_a_gpu_adds_has_a_unit_or_is_bare_on_purpose() -> None:
    clocks = {"sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "temperature_c": 60, "other_processes": 1}
    before, after = State(energy_j=1.0), State(energy_j=9.0, process_gib=3.0, device_gib=4.0, **clocks)
    values = memory_columns([timing()]).values | device_columns(before, after, [1.0], []).values
    values |= throttling_columns([replace(timing(), seen=SLOWED)], after).values
    numbers = [name for name, value in values.items() if isinstance(value, int | float)]
    assert {"vram_reserved_peak_gib", "energy_j", "sm_clock_mhz"} <= set(numbers)
    for name in numbers:
        if name not in OUTSIDE_THE_CATALOGUE:
            assert CATALOGUE[name].unit or name in PURE_NUMBERS, name


def test_raw_times_are_kept_by_stage_and_step() -> None:
    assert time_series([timing(4.0), timing(8.0)]) == {
        "total_s": [4.0, 8.0],
        **{f"{stage}_s": [1.0, 2.0] for stage in STAGES},
        "step_s": [[0.5, 0.5], [1.0, 1.0]],
    }
    decode = Timing(5.0, {"vae_decode": 5.0}, [], {})
    assert time_series([decode]) == {"total_s": [5.0], "vae_decode_s": [5.0]}
    quick = Timing(5.0, {"image_encode": 0.0}, [5.0], {})
    assert time_series([quick]) == {"total_s": [5.0], "image_encode_s": [0.0], "step_s": [[5.0]]}
    assert "step_s" not in time_series([quick, decode]), "a series has an entry for each repeat"


@pytest.mark.parametrize(
    ("compile_run_s", "warmup_s", "values", "series"),
    [
        (None, [], {}, {}),
        (9.0, [], {"compile_s": 7.0}, {}),
        (1.5, [], {"compile_s": 0.0}, {}),
        (None, [3.0, 2.5], {"warmup_s": 5.5}, {"warmup_s": [3.0, 2.5]}),
        (9.0, [3.0], {"compile_s": 7.0, "warmup_s": 3.0}, {"warmup_s": [3.0]}),
    ],
)
def test_compiling_takes_what_goes_beyond_a_steady_run(
    compile_run_s: float | None, warmup_s: list[float], values: Any, series: Any
) -> None:
    output: Any = None
    runs = [timing(t) for t in (1.0, 2.0, 32.0)]
    columns = untimed_columns(Measured(output, output, runs, warmup_s, compile_run_s))
    assert (columns.values, columns.series) == (values, series)


def test_energy_is_that_of_one_run_and_the_cards_state_is_that_after_it() -> None:
    clocks = {"sm_clock_mhz": 1980, "memory_clock_mhz": 2619, "temperature_c": 60}
    place = {"pcie_generation": 4, "pcie_width": 8, "process_gib": 3, "device_gib": 5}
    after = State(energy_j=500.0, throttle="power cap", other_processes=2, **place, **clocks)
    before = State(energy_j=100.0, sm_clock_mhz=1, throttle="power brake", other_processes=7, process_gib=8)
    columns = device_columns(before, after, total_s=[1.0, 2.0, 6.0], warmup_s=[3.0])
    seen = {"other_processes": 2, "vram_process_peak_gib": 3, "vram_device_gib": 5}
    link = {"pcie_generation": 4, "pcie_width": 8}
    assert columns.values == {**clocks, **seen, **link, "energy_j": 100.0}
    assert columns.notes == ["measured beside 2 other processes on the GPU"]


SLOWED = Seen(1500.0, 2600.0, 1.0, {"throttled_power_s": 1.0}, "power cap", clocks_held=True)


def test_throttling_in_some_run_is_a_column_a_series_and_a_note() -> None:
    timings = [replace(timing(), seen=Seen(1980.0, 2600.0, 0.0, {"throttled_power_s": 0.0}, "")), timing()]
    timings[1] = replace(timings[1], seen=SLOWED)
    columns = throttling_columns(timings, State(throttle="", clocks_held=False))
    values = {"sm_clock_mean_mhz": 1740.0, "memory_clock_mean_mhz": 2600.0, "throttled_s": 0.5}
    values |= {"throttled_pct": 12.5, "throttled_power_s": 0.5, "throttle": "power cap", "clocks_held": True}
    assert values.items() <= columns.values.items()
    assert columns.values["throttled_thermal_s"] is None
    assert columns.series["throttled_power_s"] == [0.0, 1.0]
    assert columns.notes == ["the GPU was slowed down: power cap for 12 % of the time"]


def test_without_a_watch_the_look_after_the_runs_tells_of_throttling() -> None:
    columns = throttling_columns([timing()], State(throttle="power cap"))
    assert columns.values == {"throttle": "power cap", "clocks_held": None}
    assert columns.series == {"total_s": [4.0]}
    assert columns.notes == ["the GPU was slowed down: power cap"]
    nothing = throttling_columns([timing()], State())
    assert (nothing.values["throttle"], nothing.notes) == (None, [])


def test_a_shared_denoise_brings_its_share_of_throttling() -> None:
    """The donor was slowed down for 1 s of 4, of which 3 are taken over; the decode for 2 of its 3."""
    own = Timing(3.0, {"vae_decode": 3.0}, [], {"vae_decode": None}, {}, replace(SLOWED, throttled_s=2.0))
    [merged] = with_shared([own], [replace(timing(), seen=replace(SLOWED, sm_clock_mean_mhz=1700.0))])
    assert merged.seen
    assert (merged.seen.throttled_s, merged.seen.by_reason_s) == (2.75, {"throttled_power_s": 1.75})
    assert (merged.seen.sm_clock_mean_mhz, merged.seen.throttle) == (1600.0, "power cap")
    [unwatched] = with_shared([own], [timing()])
    assert unwatched.seen is None


def test_a_shared_denoise_held_what_its_own_pipeline_weighed() -> None:
    """Another decoder is 0.5 GiB lighter: so are the stages before the decode."""
    own = Timing(3.0, {"vae_decode": 3.0}, [], {"vae_decode": Peak(1.0, None)}, {})
    [merged] = with_shared([own], [timing(peak=2.0)], own_gib=1.0, donor_gib=1.5)
    peaks = {stage: peak and peak.allocated_gib for stage, peak in merged.peaks.items()}
    assert peaks == {**dict.fromkeys(STAGES, 1.5), "vae_decode": 1.0}


@pytest.mark.parametrize(("before_j", "after_j"), [(None, None), (None, 9.0), (9.0, None)])
def test_energy_is_unknown_without_both_readings(before_j: float | None, after_j: float | None) -> None:
    after = State(energy_j=after_j, other_processes=0)
    columns = device_columns(State(energy_j=before_j), after, [1.0], [])
    assert columns.values["energy_j"] is None
    assert not columns.notes
    since_the_driver_came = device_columns(State(energy_j=0.0), State(energy_j=9.0), [1.0], [])
    assert since_the_driver_came.values["energy_j"] == 9.0


def test_peaks_are_the_largest_over_stages_and_repeats() -> None:
    values = memory_columns([timing(peak=2.0), timing(peak=3.0), timing(peak=None)]).values
    assert values == {
        f"{stage}vram_{kind}_peak_gib": gib
        for kind, gib in (("allocated", 3.0), ("reserved", 4.0))
        for stage in ("", *(f"{stage}_" for stage in STAGES))
    }
    unknown = memory_columns([timing(peak=None)]).values
    assert unknown == dict.fromkeys(values)
    tight = Timing(1.0, {}, [], {"denoise": Peak(2.0, 2.0)})
    assert memory_columns([tight]).values["vram_reserved_peak_gib"] == 2.0


def test_a_shared_denoise_and_an_own_decode_make_one_run() -> None:
    own = Timing(5.0, {"vae_decode": 4.5}, [], {"vae_decode": Peak(9.0, 9.5)}, {"vae_decoder": 2})
    donor = replace(timing(), calls={"unet": 3, "vae_decoder": 1})
    [merged] = with_shared([own], [donor, timing()])
    peaks = {**dict.fromkeys(STAGES, Peak(2.0, None)), "vae_decode": Peak(9.0, 9.5)}
    stage_s = {**dict.fromkeys(STAGES, 1.0), "vae_decode": 4.5}
    assert merged == Timing(3.0 + 5.0, stage_s, [0.5, 0.5], peaks, {"unet": 3, "vae_decoder": 2})
    [uncounted] = with_shared([replace(own, peaks={"vae_decode": None})], [timing(peak=None)])
    assert uncounted.peaks == dict.fromkeys(STAGES)


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
    note = (
        "timed without a warm-up: libraries start and caches are filled in the first run of a shape, a second or "
        "more on a large GPU; measure=standard runs once before"
    )
    assert notes == [note] * told
