"""What a row answers of its GPU: slowed down or not, by what and how long."""

import math
from typing import Any

import pytest

from svdsweep.probes.throttling import Throttling, state_values, throttling

SLOWED = {
    "total_s": [10.0, 30.0],
    "sm_clock_mean_mhz": [2000.0, 1200.0],
    "memory_clock_mean_mhz": [2600, 2600],
    "throttled_s": [0.0, 6.0],
    "throttled_power_s": [0.0, 0.0],
    "throttled_thermal_s": [0.0, 6.0],
    "throttled_reliability_s": [None, None],
}


def test_clocks_are_means_over_the_timed_seconds_and_throttling_is_that_of_one_run() -> None:
    assert state_values(SLOWED) == {
        "sm_clock_mean_mhz": 1400.0,
        "memory_clock_mean_mhz": 2600.0,
        "throttled_s": 3.0,
        "throttled_power_s": 0.0,
        "throttled_thermal_s": 3.0,
        "throttled_reliability_s": None,
        "throttled_pct": 15.0,
    }
    assert state_values({"total_s": [1.0]}) == {}
    untold = {"total_s": [1.0, 1.0], "throttled_s": [None, 1.0], "sm_clock_mean_mhz": [1]}
    assert set(state_values(untold).values()) == {None}


def test_a_row_tells_by_what_and_how_long_it_was_slowed_down() -> None:
    values = state_values(SLOWED)
    assert throttling(values) == Throttling(3.0, 15.0, "thermal")
    assert throttling(values | {"throttle": "hardware thermal"}) == Throttling(3.0, 15.0, "hardware thermal")
    assert str(throttling(values)) == "thermal for 15 % of the time"


@pytest.mark.parametrize(
    ("values", "matters"),
    [
        ({"throttled_pct": 1.9, "throttled_s": 0.1, "throttle": "power cap"}, False),
        ({"throttled_pct": 2.0, "throttled_s": 0.1, "throttle": "power cap"}, True),
        ({"throttle": "power cap"}, True),
        ({"throttle": "power cap", "throttled_pct": math.nan}, True),
        ({"throttle": ""}, False),
    ],
)
def test_moments_at_the_power_cap_spoil_no_comparison(values: Any, matters: bool) -> None:
    told = throttling(values)
    assert told is not None
    assert told.matters is matters


@pytest.mark.parametrize("values", [{}, {"throttle": None}, {"throttle": math.nan, "throttled_pct": None}])
def test_of_what_no_card_told_a_row_says_nothing(values: Any) -> None:
    assert throttling(values) is None
