"""What AMD's driver knows of a GPU, by the package `amdsmi` of ROCm where it is installed. No torch.

Each reading is None where it does not tell it."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from svdsweep.probes.nvml import State
from svdsweep.store.kinds import Scalar

GIB = 2**30
TICKS = "ticks"
RESIDENCIES = {
    TICKS: ["accumulation_counter"],
    "throttled_power_s": ["ppt_residency_acc"],
    "throttled_thermal_s": [
        f"{part}_residency_acc" for part in ("prochot", "socket_thm", "vr_thm", "hbm_thm")
    ],
}
"""The firmware's counters, of which the largest is taken. `amdsmi_get_violation_status` tells the same after a wait of
100 ms, and they are in `amdsmi_get_gpu_metrics_info` without one."""
GENERATIONS = {2_500: 1, 5_000: 2, 8_000: 3, 16_000: 4, 32_000: 5, 64_000: 6}
"""Of PCI Express, by millions of transfers a second and lane."""


def address_of(properties: Any) -> str | None:
    """The PCI address, as in 0000:03:00.0, of what torch.cuda.get_device_properties answers; None where it has none."""
    bus, device = (getattr(properties, f"pci_{name}_id", None) for name in ("bus", "device"))
    domain = getattr(properties, "pci_domain_id", 0)
    return None if bus is None or device is None else f"{domain:04x}:{bus:02x}:{device:02x}.0"


class Card:
    """One GPU while AMD's library is open."""

    def __init__(self, smi: Any, gpu: Any) -> None:
        self.smi, self.gpu = smi, gpu

    def state(self) -> State:
        """Everything that is told of it now."""
        ask, smi, gpu = self._ask, self.smi, self.gpu
        processes = ask(lambda: smi.amdsmi_get_gpu_process_list(gpu))
        mine = [p for p in processes or [] if p["pid"] == os.getpid()]
        used_mib = ask(lambda: smi.amdsmi_get_gpu_vram_usage(gpu)["vram_used"])
        link = ask(lambda: smi.amdsmi_get_pcie_info(gpu)["pcie_metric"])
        return replace(
            self.moment(),
            energy_j=ask(self._energy_j),
            power_limit_w=ask(lambda: smi.amdsmi_get_power_info(gpu)["power_limit"]),
            temperature_c=ask(self._temperature_c),
            pcie_generation=ask(lambda: GENERATIONS[link["pcie_speed"]]),
            pcie_width=ask(lambda: link["pcie_width"]),
            process_gib=mine[0]["memory_usage"]["vram_mem"] / GIB if mine else None,
            device_gib=used_mib / 1024 if used_mib is not None else None,
            processes=None if processes is None else len(processes),
            other_processes=len(processes) - 1 if mine else None,
            driver=ask(lambda: smi.amdsmi_get_gpu_driver_info(gpu)["driver_version"]),
        )

    def moment(self) -> State:
        """What may change while it computes: the clocks, and whether a setting holds them."""
        locked = self._clock("GFX", "clk_locked")
        return State(
            sm_clock_mhz=self._clock("GFX", "clk"),
            memory_clock_mhz=self._clock("MEM", "clk"),
            clocks_held=bool(locked) if locked in (0, 1) else None,
        )

    def counters(self) -> dict[str, float]:
        """Ticks of the firmware in which a limit kept the clock down, by column, and all its ticks under `TICKS`;
        without those that the card does not count (before MI300 none)."""
        metrics = self._ask(lambda: self.smi.amdsmi_get_gpu_metrics_info(self.gpu)) or {}
        ticks = {
            column: [_told(metrics.get(name)) for name in names] for column, names in RESIDENCIES.items()
        }
        known = {column: [n for n in each if n is not None] for column, each in ticks.items()}
        return {column: max(each) for column, each in known.items() if each}

    def slowed_s(self, before: Mapping[str, float], after: Mapping[str, float], s: float) -> dict[str, float]:
        """Seconds between two readings of the counters that lie `s` apart in which it was slowed down, by column."""
        passed = {name: max(0.0, after[name] - before[name]) for name in before if name in after}
        ticks = passed.pop(TICKS, 0)
        return {name: s * min(1.0, n / ticks) for name, n in passed.items()} if ticks else {}

    def facts(self) -> dict[str, Scalar]:
        """How it is set up, for the provenance of rows."""
        ask, smi, gpu = self._ask, self.smi, self.gpu
        slot = ask(lambda: smi.amdsmi_get_pcie_info(gpu)["pcie_static"])
        return {
            "pcie_generation_max": ask(lambda: GENERATIONS[slot["max_pcie_speed"]]),
            "pcie_width_max": ask(lambda: slot["max_pcie_width"]),
            "sm_clock_max_mhz": self._clock("GFX", "max_clk"),
            "memory_clock_max_mhz": self._clock("MEM", "max_clk"),
        }

    def _clock(self, kind: str, name: str) -> Any:
        smi = self.smi
        return self._ask(lambda: smi.amdsmi_get_clock_info(self.gpu, getattr(smi.AmdSmiClkType, kind))[name])

    def _energy_j(self) -> float:
        told = self.smi.amdsmi_get_energy_count(self.gpu)
        return float(told["energy_accumulator"] * told["counter_resolution"]) / 1e6  # microjoules

    def _temperature_c(self) -> int:
        place, now = self.smi.AmdSmiTemperatureType.EDGE, self.smi.AmdSmiTemperatureMetric.CURRENT
        return int(self.smi.amdsmi_get_temp_metric(self.gpu, place, now))

    def _ask(self, question: Callable[[], Any]) -> Any:
        """An answer; None for what this card does not tell, and what this release of the package has not."""
        try:
            return _told(question())
        except (self.smi.AmdSmiException, AttributeError, KeyError, TypeError):
            return None


@contextmanager
def opened(address: str | None) -> Iterator[Card | None]:
    """The GPU at a PCI address for a `with` block; None without `amdsmi`, its driver, or such a GPU."""
    try:
        smi: Any = importlib.import_module("amdsmi")
        smi.amdsmi_init()
    except Exception:  # its library is loaded at import, and fails by errors of many kinds
        yield None
        return
    try:
        yield _card(smi, address)
    finally:
        with suppress(smi.AmdSmiException):
            smi.amdsmi_shut_down()


def read(address: str | None) -> State:
    """The state of the GPU at a PCI address now; of one that AMD's library does not know nothing is told."""
    with opened(address) as card:
        return card.state() if card else State()


def _card(smi: Any, address: str | None) -> Card | None:
    try:
        handles = smi.amdsmi_get_processor_handles()
        mine = [h for h in handles if str(smi.amdsmi_get_gpu_device_bdf(h)).lower() == address]
    except smi.AmdSmiException:
        return None
    return Card(smi, mine[0]) if mine else None


def _told(answer: Any) -> Any:
    return None if answer == "N/A" else answer
