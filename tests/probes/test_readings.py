"""What the driver, the allocator and the kernel are asked, and None for what they do not tell."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_nvml import install

from svdsweep.config.version import version_of
from svdsweep.probes import nvml, vram
from svdsweep.probes.environment import device_name, provenance, uuid_of
from svdsweep.probes.nvml import State

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    return partial(install, monkeypatch)


def test_a_card_tells_energy_clocks_throttling_and_company(driver: Any) -> None:
    fake = driver(pids=(0, 77), nvmlDeviceGetCurrentClocksEventReasons=0x4 | 0x40 | 0x1)
    state = nvml.read("1234-5678")
    assert fake.asked_for == ["GPU-1234-5678"]
    assert state == State(
        energy_j=5.0,
        power_limit_w=700.0,
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        temperature_c=60,
        margin_c=35,
        throttle="power cap, hardware thermal",
        clocks_held=False,
        pcie_generation=5,
        pcie_width=16,
        process_gib=1.0,
        device_gib=3.0,
        processes=2,
        other_processes=1,
        driver="999.1",
    )


def test_a_reason_for_a_slower_clock_is_told_by_its_bit_and_idling_is_none(driver: Any) -> None:
    words = {0: "", 1: "", 2: "", 4: "power cap", 8: "hardware slowdown", 16: "", 0x100: ""}
    words |= {0x20: "software thermal", 0x40: "hardware thermal", 0x80: "power brake"}
    words |= {0x200: "board limit", 0x400: "reliability"}
    for bits, told in words.items():
        driver(nvmlDeviceGetCurrentClocksEventReasons=bits)
        assert (nvml.read("x").throttle, nvml.read("x").clocks_held) == (told, bits == 2)


def test_a_card_is_asked_for_by_the_name_that_it_has(driver: Any) -> None:
    fake = driver()
    for uuid, name in (("aa", "GPU-aa"), ("GPU-aa", "GPU-aa"), ("MIG-1", "MIG-1")):
        nvml.read(uuid)
        assert fake.asked_for.pop() == name


def test_what_a_card_does_not_tell_is_none(driver: Any) -> None:
    driver(mute=("Energy", "Reasons", "Processes", "Memory"))
    state = nvml.read("MIG-1")
    assert (state.energy_j, state.throttle, state.process_gib, state.other_processes) == (None,) * 4
    assert state.temperature_c == 60


def test_nothing_so_far_is_a_reading_too(driver: Any) -> None:
    driver(nvmlDeviceGetTotalEnergyConsumption=0, nvmlDeviceGetMemoryInfo=SimpleNamespace(used=0))
    assert (nvml.read("x").energy_j, nvml.read("x").device_gib) == (0.0, 0.0)


def test_in_a_container_nobody_can_tell_who_is_who(driver: Any) -> None:
    driver(pids=(4711,))
    state = nvml.read("x")
    assert (state.process_gib, state.other_processes) == (None, None)


def test_without_driver_device_or_uuid_nothing_is_known(driver: Any) -> None:
    driver(mute=("nvmlInit",))
    assert nvml.read("x") == State()
    assert nvml.read(None) == State()


def test_the_cap_is_a_share_of_the_card_and_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[Any] = []
    cards = {GPU: SimpleNamespace(total_memory=32 * 2**30)}
    monkeypatch.setattr(torch.cuda, "get_device_properties", cards.__getitem__)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *told: shares.append(told))
    for limit in (8.0, None, 64.0):
        vram.cap(GPU, limit)
    assert shares == [(0.25, GPU), (1.0, GPU), (1.0, GPU)]
    vram.cap(CPU, 8.0)
    assert len(shares) == 3


def test_what_the_allocator_counts_is_told_in_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_of = {"memory_allocated": 2**30, "max_memory_allocated": 2**31, "max_memory_reserved": 3 * 2**30}
    for name, value in bytes_of.items():
        monkeypatch.setattr(torch.cuda, name, {GPU: value}.__getitem__)
    pinned = {"allocated_bytes.peak": 2**29}
    monkeypatch.setattr(torch.cuda, "host_memory_stats", lambda: pinned, raising=False)
    assert vram.read_peak(GPU) == vram.Peak(allocated_gib=2.0, reserved_gib=3.0)
    assert (vram.allocated_gib(GPU), vram.pinned_peak_gib(GPU)) == (1.0, 0.5)
    assert (vram.read_peak(CPU), vram.allocated_gib(CPU), vram.pinned_peak_gib(CPU)) == (None, None, None)
    pinned.clear()
    assert vram.pinned_peak_gib(GPU) is None
    monkeypatch.delattr(torch.cuda, "host_memory_stats")
    assert vram.pinned_peak_gib(GPU) is None


def test_only_a_gpus_allocator_is_told_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("gc.collect", lambda: told.append("collect"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", told.append)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: told.append("empty"))
    for device in (CPU, GPU):
        vram.reset_peak(device)
        vram.empty_cache(device)
    assert told == ["collect", GPU, "collect", "empty"], "garbage goes first: it may hold tensors"


def test_provenance_tells_memory_in_gib(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver()
    card = SimpleNamespace(name="X", total_memory=24 * 2**30, major=8, minor=9, uuid="1")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=64 * 2**30))
    facts = provenance(GPU)
    assert (facts["gpu"], facts["gpu_memory_gib"], facts["host_ram_gib"]) == ("X", 24.0, 64.0)


def test_the_hosts_peak_follows_what_is_held_and_starts_afresh() -> None:
    if not vram.reset_host_peak():
        pytest.skip("the kernel would not reset it here")
    before = vram.host_peak_gib()
    held = torch.ones(2**26)  # 256 MiB
    during = vram.host_peak_gib()
    del held
    vram.reset_host_peak()
    after = vram.host_peak_gib()
    assert before is not None
    assert during is not None
    assert after is not None
    assert during > before + 0.2
    assert after < during - 0.2


def test_provenance_is_told_and_unknown_things_are_none() -> None:
    facts = provenance(CPU)
    assert facts["diffusers"]
    assert facts["host"]
    assert facts["sdpa_kernels"] is None
    assert "gpu" not in facts


def test_provenance_of_a_gpu_tells_each_fact_under_its_own_name(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver()
    card = SimpleNamespace(name="X", total_memory=24 * 2**30, major=8, minor=9, uuid="aa")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    switches = {"flash": True, "mem_efficient": False, "cudnn": True, "math": False}
    for name, on in switches.items():
        monkeypatch.setattr(torch.backends.cuda, f"{name}_sdp_enabled", lambda on=on: on)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 16 if logical else 8)
    facts = provenance(GPU)
    expected = {
        "gpu_capability": "8.9",
        "gpu_uuid": "aa",
        "driver": "999.1",
        "gpu_power_limit_w": 700.0,
        "device": "cuda:0",
        "sdpa_kernels": "flash,cudnn",
        "allocator": "expandable_segments:True",
        "cpu_cores": 8,
        "torch": version_of("torch"),
        "diffusers": version_of("diffusers"),
    }
    assert {name: facts[name] for name in expected} == expected
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "backend:cudaMallocAsync")
    assert provenance(CPU)["allocator"] == "backend:cudaMallocAsync"
    monkeypatch.delenv("PYTORCH_ALLOC_CONF")
    assert provenance(CPU)["allocator"] == "default"
    assert (device_name(GPU), uuid_of(GPU), uuid_of(CPU)) == ("X", "aa", None)
