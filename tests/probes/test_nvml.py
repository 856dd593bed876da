"""What NVML is asked beside the readings: counters of slowed-down time, how a card is set up, and parts of a card."""

from functools import partial
from typing import Any

import pynvml
import pytest
from fake_nvml import install

from svdsweep.probes import nvml

COUNTED = {f"throttled_{reason}_s" for reason in ("power", "thermal", "reliability", "board_limit")}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    return partial(install, monkeypatch)


def counters() -> Any:
    with nvml.opened("x") as card:
        assert card
        return card.counters()


def test_throttling_is_the_difference_of_the_drivers_nanoseconds(driver: Any) -> None:
    fake = driver()
    before = counters()
    assert before == dict.fromkeys(COUNTED, 0.0)
    fake.violated_ns = {0: 1_500_000_000, 1: 250_000_000, 5: 1}
    with nvml.opened("x") as card:
        assert card
        slowed = card.slowed_s(before, counters(), 9.0)
    assert slowed == {
        "throttled_power_s": 1.5,
        "throttled_thermal_s": 0.25,
        "throttled_reliability_s": 1e-9,
        "throttled_board_limit_s": 0.0,
    }


def test_a_driver_that_has_only_the_newer_counters_is_asked_for_those(driver: Any) -> None:
    fake = driver(mute=("ViolationStatus",))
    fake.violated_ns = {1: 250}
    assert counters()["throttled_thermal_s"] == 250
    driver(mute=("ViolationStatus", "FieldValues"))
    assert counters() == {}


def test_how_a_card_is_set_up_is_told_by_name_and_what_it_has_not_is_none(driver: Any) -> None:
    driver(mute=("EccMode", "ApplicationsClock"), nvmlDeviceGetPersistenceMode=0)
    with nvml.opened("x") as card:
        assert card
        assert card.facts() == {
            "gpu_persistence_mode": "off",
            "gpu_ecc": None,
            "gpu_mig": "off",
            "gpu_power_limit_default_w": 700.0,
            "pcie_generation_max": 5,
            "pcie_width_max": 16,
            "sm_clock_max_mhz": 1980,
            "memory_clock_max_mhz": 2619,
            "sm_clock_application_mhz": None,
            "memory_clock_application_mhz": None,
        }


def test_each_question_that_is_not_supported_costs_its_own_answer_alone(driver: Any) -> None:
    driver()
    with nvml.opened("x") as card:
        assert card
        whole = card.facts() | vars(card.state())
    questions = [
        "Persistence",
        "MigMode",
        "CurrPcieLinkWidth",
        "ClocksEventReasons",
        "DefaultLimit",
        "MaxClock",
    ]
    for question in questions:
        driver(mute=(question,))
        with nvml.opened("x") as card:
            assert card
            told = card.facts() | vars(card.state())
        lost = {name for name in told if told[name] != whole[name]}
        assert 1 <= len(lost) <= 2, question
        assert {told[name] for name in lost} == {None}


def test_a_part_of_a_card_has_the_clocks_and_counters_of_the_whole(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = driver(nvmlDeviceGetDeviceHandleFromMigDeviceHandle="the whole")
    answer = fake._answer

    def of_a_part(name: str, *asked: Any) -> Any:
        if asked[:1] == ("a card",) and name not in ("nvmlDeviceGetMemoryInfo", *fake.told):
            raise fake.NVMLError
        return answer(name, *asked)

    monkeypatch.setattr(fake, "_answer", of_a_part)
    state = nvml.read("MIG-1")
    assert (state.sm_clock_mhz, state.pcie_width, state.device_gib) == (1980, 16, 3.0)
    assert (state.energy_j, state.processes) == (None, None), "those of the other parts are not its own"
    assert set(counters()) == COUNTED


@pytest.mark.skipif(
    not hasattr(pynvml, "nvmlDeviceGetMarginTemperature"), reason="an older nvidia-ml-py has no such question"
)
def test_degrees_until_the_slowdown_are_told_by_the_newer_cards_themselves(driver: Any) -> None:
    driver(nvmlDeviceGetMarginTemperature=8)
    assert nvml.read("x").margin_c == 8
    driver(mute=("TemperatureThreshold",))
    assert nvml.read("x").margin_c is None
