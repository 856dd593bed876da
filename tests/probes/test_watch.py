"""A GPU is watched over a run: its clocks, what slowed it down, and for how long; at no cost where none is known."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_nvml import Nvml, install

from svdsweep.probes import watch
from svdsweep.probes.throttling import Seen
from svdsweep.probes.watch import watched

GPU = torch.device("cuda", 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="aa"))
    monkeypatch.setattr(watch, "EVERY_S", 0.002)
    return lambda **how: install(monkeypatch, **how)


def look_until(looks: int, total: list[Any]) -> None:
    """Wait for so many more looks of the watch."""
    wanted = len(total) + looks
    while len(total) < wanted:
        time.sleep(0.001)


def run(fake: Nvml, slowed: int) -> Seen:
    """A run of 20 looks, of which the last `slowed` meet a card at its thermal limit."""
    with watched(GPU) as seen:
        look_until(20 - slowed, seen.looks)
        if slowed:
            fake.slow_down("THERMAL", "HwThermalSlowdown", 990)
            look_until(slowed, seen.looks)
            fake.recover()
    told = seen.seen(10.0)
    assert told
    return told


def test_throttling_in_the_middle_of_a_run_is_counted_and_named_and_lowers_the_mean_clock(
    driver: Any,
) -> None:
    fake = driver()
    told = run(fake, slowed=10)
    assert told.by_reason_s["throttled_thermal_s"] == pytest.approx(fake.violated_ns[1] / 1e9)
    assert told.throttled_s == sum(told.by_reason_s.values()) > 0
    assert told.by_reason_s["throttled_power_s"] == 0
    assert told.throttle == "hardware thermal"
    assert told.sm_clock_mean_mhz == pytest.approx(0.5 * 1980 + 0.5 * 990, rel=0.1)  # a look more or less
    assert told.memory_clock_mean_mhz == 2619
    assert told.clocks_held is False


def test_a_card_that_does_not_count_is_judged_by_the_looks(driver: Any) -> None:
    told = run(driver(mute=("Violation", "FieldValues")), slowed=5)
    assert told.by_reason_s == {}
    assert told.throttled_s == pytest.approx(10 * 5 / 20, rel=0.25)  # a look more or less
    assert run(driver(mute=("Violation", "FieldValues")), slowed=0).throttled_s == 0
    silent = run(driver(mute=("Violation", "FieldValues", "EventReasons", "ClockInfo")), slowed=5)
    assert silent == Seen()


def test_what_comes_and_goes_between_two_looks_does_not_hide(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 60.0)
    fake = driver()
    with watched(GPU) as seen:
        fake.slow_down("POWER", "SwPowerCap", 1400)
        fake.recover()
    told = seen.seen(1.0)
    assert told
    assert told.throttle == "power cap"
    assert told.by_reason_s["throttled_power_s"] > 0
    assert told.sm_clock_mean_mhz == 1980, "the one look was after the run"


def test_slowed_down_time_is_never_more_than_the_run(driver: Any) -> None:
    fake = driver()
    with watched(GPU) as seen:
        fake.violated_ns = {0: 8 * 10**9, 1: 8 * 10**9}
    told = seen.seen(10.0)
    assert told
    assert told.throttled_s == 10.0


def test_clocks_that_a_setting_holds_are_told(driver: Any) -> None:
    driver(nvmlDeviceGetCurrentClocksEventReasons=0x2)
    with watched(GPU) as seen:
        pass
    told = seen.seen(1.0)
    assert told
    assert (told.clocks_held, told.throttle) == (True, "")


def test_without_a_driver_there_is_no_thread_and_a_failed_run_leaves_none(driver: Any) -> None:
    threads = threading.active_count()
    with watched(torch.device("cpu")) as seen:
        assert threading.active_count() == threads
    assert seen.seen(1.0) is None
    driver()
    with pytest.raises(RuntimeError, match="out of memory"), watched(GPU) as seen:
        raise RuntimeError("out of memory")
    assert threading.active_count() == threads
    assert seen.seen(1.0) is None
