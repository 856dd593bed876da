"""GPUs of every maker are found without torch, or named with the reason why the CPU computes instead."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpus
import pytest
import torch

from svdsweep.errors import UserError
from svdsweep.memory.conflicts import KINDS
from svdsweep.predict.forecast import card_here, kind_of
from svdsweep.probes import amd, devices, found
from svdsweep.probes.build import Build, build_of, torch_build
from svdsweep.probes.nvml import State
from svdsweep.runner.worker_main import environment
from svdsweep.worker.contract import Slot

KINDS_OF_GPUS = [kind for kind in KINDS if kind != "cpu"]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    return lambda kind, **more: gpus.machine(monkeypatch, tmp_path, kind, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_takes_what_is_there_and_its_kind_is_known(machine: Any, kind: str) -> None:
    machine(kind)
    assert devices.discover("auto") == [gpus.DEVICES[kind]]
    assert kind_of(devices.discover("auto")) == kind
    assert devices.left_out() == ""


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        ("cuda", ["cuda", "cuda:0", "0", "GPU-a"]),
        ("rocm", ["cuda", "cuda:0", "rocm:0", "0"]),
        ("xpu", ["xpu", "xpu:0", "0"]),
        ("mps", ["mps", "mps:0", "0"]),
    ],
)
def test_a_gpu_may_be_called_as_torch_calls_it(machine: Any, kind: str, spellings: list[str]) -> None:
    machine(kind)
    for name in spellings:
        assert devices.discover(f"{name},cpu") == [gpus.DEVICES[kind], "cpu"]
    other = "xpu:0" if kind != "xpu" else "cuda:0"
    for name in (other, f"{spellings[0]}:1", "tpu"):
        with pytest.raises(UserError, match=f"there is no device {name} here"):
            devices.discover(name)


def test_names_and_memory_are_the_systems(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine("rocm")
    assert (devices.gpu_name("rocm:0"), devices.vram_gib("rocm:0")) == ("AMD Radeon RX 7900 XTX", 24.0)
    machine("xpu")
    assert (devices.gpu_name("xpu:0"), devices.vram_gib("xpu:0")) == ("Intel Arc A770", None)
    assert card_here(["xpu:0"], tmp_path).gib == 16, "as the table of published cards has it"
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=32 * 2**30))
    machine("mps")
    assert (devices.gpu_name("mps"), devices.vram_gib("mps")) == ("Apple M2 Max", 32.0)


TWO = [("0000:03:00.0", "0x1002", "0x744c", 24.0), ("0000:43:00.0", "0x1002", "0x73bf", 16.0)]
ARCS = [("0000:03:00.0", "0x8086", "0x56a0", None), ("0000:04:00.0", "0x8086", "0x56a0", None)]


@pytest.mark.parametrize(
    ("kind", "masks", "seen"),
    [
        ("rocm", {}, ["rocm:0", "rocm:1"]),
        ("rocm", {"HIP_VISIBLE_DEVICES": "1"}, ["rocm:1"]),
        ("rocm", {"CUDA_VISIBLE_DEVICES": "1,0"}, ["rocm:1", "rocm:0"]),
        ("rocm", {"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, ["rocm:0"]),
        ("rocm", {"HIP_VISIBLE_DEVICES": "-1"}, []),
        ("rocm", {"HIP_VISIBLE_DEVICES": "GPU-5f"}, ["rocm:GPU-5f"]),
        ("xpu", {"ZE_AFFINITY_MASK": "1"}, ["xpu:0"]),
        ("xpu", {"ONEAPI_DEVICE_SELECTOR": "level_zero:1"}, ["xpu:1"]),
        ("xpu", {"ONEAPI_DEVICE_SELECTOR": "level_zero:gpu"}, ["xpu:0", "xpu:1"]),
    ],
)
def test_the_users_masks_count(
    machine: Any, monkeypatch: pytest.MonkeyPatch, kind: str, masks: dict[str, str], seen: list[str]
) -> None:
    machine(kind, cards=TWO if kind == "rocm" else ARCS)
    for name, value in masks.items():
        monkeypatch.setenv(name, value)
    assert devices.usable() == seen
    assert bool(devices.left_out()) is not bool(seen)


@pytest.mark.parametrize(
    ("device", "variables"),
    [
        ("cpu", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ""}),
        ("GPU-aa", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-aa"}),
        ("rocm:1", {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "1"}),
        ("xpu:1", {"ONEAPI_DEVICE_SELECTOR": "level_zero:1"}),
    ],
)
def test_a_worker_sees_its_device_alone(tmp_path: Path, device: str, variables: dict[str, str]) -> None:
    assert variables.items() <= environment(Slot(device, tmp_path)).items()


@pytest.mark.parametrize(
    ("kind", "cards", "build", "told"),
    [
        ("rocm", None, "cpu", "AMD Radeon RX 7900 XTX (torch 9.9+cpu is built for the CPU alone; install"),
        ("rocm", None, "cuda", "built for CUDA 13.0; install PyTorch for ROCm"),
        ("xpu", None, "cpu", "is built for the CPU alone; install PyTorch for Intel GPUs"),
        ("cuda", None, "cpu", "GPU-aa (torch 9.9+cpu is built for the CPU alone; install PyTorch for CUDA"),
        ("cpu", gpus.NVIDIA, "cuda", "NVIDIA GeForce RTX 3090 (its driver does not answer"),
        ("cpu", gpus.INTEL[:1], "cpu", ""),
        ("cpu", gpus.AMD[1:], "cpu", ""),
        ("cpu", [], "cuda", ""),
    ],
)
def test_a_gpu_that_cannot_be_used_is_named_with_its_cure(
    machine: Any, kind: str, cards: Any, build: str, told: str
) -> None:
    machine(kind, cards=cards, build=build)
    assert devices.discover("auto") == ["cpu"]
    assert told in devices.left_out()
    assert bool(told) == bool(devices.left_out())
    if told:
        with pytest.raises(UserError, match=r"Not to be used: .*install"):
            devices.discover("cuda:0")


def test_without_rocms_device_file_an_amd_gpu_is_named(machine: Any, tmp_path: Path) -> None:
    machine("rocm")
    (tmp_path / "dev" / "kfd").unlink()
    assert devices.discover("auto") == ["cpu"]
    assert "groups render and video" in devices.left_out()


@pytest.mark.parametrize(("most", "chosen"), [(12080, ["cpu"]), (13000, ["GPU-aa"]), (None, ["GPU-aa"])])
def test_a_driver_that_is_too_old_for_torch_is_told(
    machine: Any, monkeypatch: pytest.MonkeyPatch, most: int | None, chosen: list[str]
) -> None:
    machine("cuda")
    driver = SimpleNamespace(NVMLError=RuntimeError, nvmlInit=lambda: None, nvmlShutdown=lambda: None)
    if most:
        driver.nvmlSystemGetCudaDriverVersion = lambda: most
    driver.nvmlDeviceGetHandleByUUID = lambda _: None
    driver.nvmlDeviceGetName = lambda _: "NVIDIA X"
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert devices.discover("auto") == chosen
    if most == 12080:
        assert "NVIDIA X (its driver is made for CUDA 12.8" in devices.left_out()


def test_where_the_system_lists_no_gpus_torch_is_asked_in_a_process_of_its_own(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("rocm", cards=[])
    monkeypatch.setattr(found.host, "lists_gpus", lambda: False)
    monkeypatch.setattr(found, "told_by_torch", lambda: [found.Card("", "AMD Radeon RX 7800 XT", 16.0)])
    assert devices.discover("auto") == ["rocm:0"]
    assert devices.vram_gib("rocm:0") == 16
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "3")
    assert devices.discover("auto") == ["rocm:3"]


def test_a_process_that_cannot_ask_torch_finds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "ASK", "print('[[\"X\", 8.0]]')")
    assert found.told_by_torch.__wrapped__() == [found.Card("", "X", 8.0)]
    monkeypatch.setattr(found, "ASK", "raise SystemExit(1)")
    assert found.told_by_torch.__wrapped__() == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("__version__ = '2.14.1+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "cuda"),
        (
            "__version__ = '2.9.0+rocm6.4'\ncuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'\n",
            "rocm",
        ),
        ("__version__ = '2.9.0+xpu'\ncuda: Optional[str] = None\nxpu: Optional[str] = '20250201'\n", "xpu"),
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", "cpu"),
    ],
)
def test_what_torch_was_built_for_is_read_from_its_own_file(
    monkeypatch: pytest.MonkeyPatch, text: str, kind: str
) -> None:
    monkeypatch.setattr(found.host, "gpus_chip", lambda: None)
    assert build_of(text).kind == kind
    monkeypatch.setattr(found.host, "gpus_chip", lambda: "Apple M2")
    assert build_of(text).kind == ("mps" if kind == "cpu" else kind)


def test_the_build_that_is_read_is_the_one_that_is_imported() -> None:
    build = torch_build()
    assert build is not None
    assert build.version == torch.__version__


def test_no_torch_is_imported_to_find_devices() -> None:
    code = (
        "import sys; from svdsweep.probes import devices; devices.discover('auto'); devices.left_out();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Smi:
    """AMD's library with one card, which does not tell its energy."""

    AmdSmiException = type("AmdSmiException", (Exception,), {})
    AmdSmiClkType = SimpleNamespace(GFX="gfx", MEM="mem")
    AmdSmiTemperatureType, AmdSmiTemperatureMetric = SimpleNamespace(EDGE=0), SimpleNamespace(CURRENT=0)

    def __init__(self, **metrics: Any) -> None:
        self.metrics = metrics

    def __getattr__(self, name: str) -> Any:
        answers = {
            "amdsmi_get_processor_handles": ["card"],
            "amdsmi_get_gpu_device_bdf": "0000:03:00.0",
            "amdsmi_get_power_info": {"power_limit": "N/A"},
            "amdsmi_get_temp_metric": 61,
            "amdsmi_get_gpu_vram_usage": {"vram_used": 2048, "vram_total": 24560},
            "amdsmi_get_gpu_process_list": [],
            "amdsmi_get_gpu_driver_info": {"driver_version": "6.12"},
            "amdsmi_get_pcie_info": {
                "pcie_static": {"max_pcie_width": 16, "max_pcie_speed": 16000},
                "pcie_metric": {"pcie_width": 8, "pcie_speed": "N/A"},
            },
            "amdsmi_get_gpu_metrics_info": self.metrics,
        }

        def answer(*asked: Any) -> Any:
            if "energy" in name:
                raise self.AmdSmiException
            clock = {"gfx": 2500, "mem": 1249}.get(asked[-1] if asked else "")
            return {"clk": clock, "max_clk": 2600, "clk_locked": 1} if "clock" in name else answers.get(name)

        return answer


def test_amds_library_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", Smi())
    address = amd.address_of(SimpleNamespace(pci_domain_id=0, pci_bus_id=3, pci_device_id=0))
    clocks = {"sm_clock_mhz": 2500, "memory_clock_mhz": 1249, "clocks_held": True}
    expected = State(temperature_c=61, device_gib=2.0, driver="6.12", pcie_width=8, processes=0, **clocks)
    assert amd.read(address) == expected
    assert amd.read("0000:99:00.0") == amd.read(amd.address_of(SimpleNamespace())) == State()
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert amd.read(address) == State()


def test_amds_firmware_counts_ticks_of_which_the_share_is_slowed_down_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smi = Smi(
        accumulation_counter=1000, ppt_residency_acc=10, hbm_thm_residency_acc=5, vr_thm_residency_acc="N/A"
    )
    monkeypatch.setitem(sys.modules, "amdsmi", smi)
    with amd.opened("0000:03:00.0") as card:
        assert card
        assert card.facts() == {
            "pcie_generation_max": 4,
            "pcie_width_max": 16,
            "sm_clock_max_mhz": 2600,
            "memory_clock_max_mhz": 2600,
        }
        before = card.counters()
        smi.metrics |= {"accumulation_counter": 2000, "ppt_residency_acc": 260}
        assert card.slowed_s(before, card.counters(), 8.0) == {
            "throttled_power_s": 2.0,
            "throttled_thermal_s": 0.0,
        }
        smi.metrics = {"accumulation_counter": "N/A"}
        assert card.counters() == card.slowed_s(before, {}, 8.0) == {}


def test_a_build_says_what_it_is_for() -> None:
    assert str(Build("rocm", "6.4", "2.9.0")) == "torch 2.9.0 is built for ROCm 6.4"
