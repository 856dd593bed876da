"""What AMD's driver knows of a GPU, by the package `amdsmi` of ROCm where it is installed. No torch.

Each reading is None where it does not tell it."""

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from svdsweep.probes.nvml import State

GIB = 2**30


def address_of(properties: Any) -> str | None:
    """The PCI address, as in 0000:03:00.0, of what torch.cuda.get_device_properties answers; None where it has none."""
    bus, device = (getattr(properties, f"pci_{name}_id", None) for name in ("bus", "device"))
    domain = getattr(properties, "pci_domain_id", 0)
    return None if bus is None or device is None else f"{domain:04x}:{bus:02x}:{device:02x}.0"


def read(address: str | None) -> State:
    """The state of the GPU at a PCI address; nothing is known without `amdsmi`, its driver, or such a GPU."""
    try:
        smi: Any = importlib.import_module("amdsmi")
        smi.amdsmi_init()
    except Exception:  # its library is loaded at import, and fails by errors of many kinds
        return State()
    try:
        handles = smi.amdsmi_get_processor_handles()
        mine = [h for h in handles if str(smi.amdsmi_get_gpu_device_bdf(h)).lower() == address]
        return _state(smi, mine[0]) if mine else State()
    except smi.AmdSmiException:
        return State()
    finally:
        with suppress(smi.AmdSmiException):
            smi.amdsmi_shut_down()


def _state(smi: Any, gpu: Any) -> State:
    def ask(question: Callable[[], Any]) -> Any:
        """An answer; None for what this card does not tell (`N/A`), or this release of the package has not."""
        try:
            answer = question()
        except (smi.AmdSmiException, AttributeError, KeyError):
            return None
        return None if answer == "N/A" else answer

    def energy_j() -> float:
        told = smi.amdsmi_get_energy_count(gpu)
        return float(told["energy_accumulator"] * told["counter_resolution"]) / 1e6  # microjoules

    def temperature_c() -> int:
        place, now = smi.AmdSmiTemperatureType.EDGE, smi.AmdSmiTemperatureMetric.CURRENT
        return int(smi.amdsmi_get_temp_metric(gpu, place, now))

    processes = ask(lambda: smi.amdsmi_get_gpu_process_list(gpu))
    mine = [p for p in processes or [] if p["pid"] == os.getpid()]
    used_mib = ask(lambda: smi.amdsmi_get_gpu_vram_usage(gpu)["vram_used"])
    return State(
        energy_j=ask(energy_j),
        power_limit_w=ask(lambda: smi.amdsmi_get_power_info(gpu)["power_limit"]),
        sm_clock_mhz=ask(lambda: smi.amdsmi_get_clock_info(gpu, smi.AmdSmiClkType.GFX)["clk"]),
        memory_clock_mhz=ask(lambda: smi.amdsmi_get_clock_info(gpu, smi.AmdSmiClkType.MEM)["clk"]),
        temperature_c=ask(temperature_c),
        process_gib=mine[0]["memory_usage"]["vram_mem"] / GIB if mine else None,
        device_gib=used_mib / 1024 if used_mib is not None else None,
        other_processes=len(processes) - 1 if mine else None,
        driver=ask(lambda: smi.amdsmi_get_gpu_driver_info(gpu)["driver_version"]),
    )
