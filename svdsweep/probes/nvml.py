"""What the driver knows of a GPU (NVML): energy, clocks, temperature, throttling, and who else is on it. No torch.

Every question is asked alone, and its answer is None where the device, the driver or the container does not tell it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from svdsweep.store.kinds import Scalar

GIB = 2**30

THROTTLE = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}
"""Clock event reasons that slow a run down, by NVML's bits; idling and chosen clocks are not among them."""


CLOCKS_HELD = 0x2
"""The clock event reason of application clocks and of locked ones, which NVML tells by nothing else."""
POLICIES = {
    "throttled_power_s": "POWER",
    "throttled_thermal_s": "THERMAL",
    "throttled_reliability_s": "RELIABILITY",
    "throttled_board_limit_s": "BOARD_LIMIT",
}
"""Columns of slowed-down time, and what NVML calls the policy whose violations they count."""


@dataclass(frozen=True)
class State:
    """One reading of a GPU."""

    energy_j: float | None = None
    """Energy since the driver was loaded; what a run took is the difference of two readings."""
    power_limit_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    margin_c: int | None = None
    """Degrees that are left until the GPU slows itself down."""
    throttle: str | None = None
    """The reasons for a slower clock at this moment, comma separated; empty where there is none."""
    clocks_held: bool | None = None
    """Whether application clocks or locked ones hold the clock."""
    pcie_generation: int | None = None
    """Of the link now; an idle card may lower it."""
    pcie_width: int | None = None
    process_gib: float | None = None
    """Device memory of this process with CUDA context and libraries, which the allocator does not see."""
    device_gib: float | None = None
    processes: int | None = None
    """Processes that compute on the device and are known to hold memory of it, unlike those of Windows' desktop."""
    other_processes: int | None = None
    """Processes that compute on the device, without this one."""
    driver: str | None = None


@contextmanager
def session() -> Iterator[Any]:
    """NVML's module, initialised for a `with` block; None where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


class Card:
    """One GPU while NVML is open. A part of a card (MIG) is asked first, then the whole of it for what only that has:
    clocks, counters, modes and the PCIe link."""

    def __init__(self, nvml: Any, device: Any) -> None:
        self.nvml, self.device = nvml, device
        self.whole = self._asked(device, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle") or device

    def state(self) -> State:
        """Everything that is told of it now."""
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses")
        mine = [p for p in processes or [] if p.pid == os.getpid()]
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        sensor = getattr(self.nvml, "NVML_TEMPERATURE_GPU", None)
        temperature_c = self._of_whole("nvmlDeviceGetTemperature", sensor)
        if temperature_c is None:  # of a driver that has the newer name alone
            temperature_c = self._of_whole("nvmlDeviceGetTemperatureV", sensor)
        return replace(
            self.moment(),
            energy_j=_scaled(self._ask("nvmlDeviceGetTotalEnergyConsumption"), 1000),
            power_limit_w=_scaled(self._of_whole("nvmlDeviceGetEnforcedPowerLimit"), 1000),
            temperature_c=temperature_c,
            margin_c=self._margin_c(temperature_c),
            pcie_generation=self._of_whole("nvmlDeviceGetCurrPcieLinkGeneration"),
            pcie_width=self._of_whole("nvmlDeviceGetCurrPcieLinkWidth"),
            process_gib=_scaled(mine[0].usedGpuMemory, GIB) if mine else None,
            device_gib=_scaled(memory.used, GIB) if memory else None,
            processes=None if processes is None else sum(p.usedGpuMemory is not None for p in processes),
            # inside a container the driver reports process ids of the host, or none: this process is not among them
            other_processes=len(processes) - 1 if mine else None,
            driver=self._asked(None, "nvmlSystemGetDriverVersion"),
        )

    def moment(self) -> State:
        """What may change while it computes, in three short questions: the clocks, and what slows or holds them."""
        reasons = self._of_whole("nvmlDeviceGetCurrentClocksEventReasons")
        words = None if reasons is None else [word for bit, word in THROTTLE.items() if reasons & bit]
        return State(
            sm_clock_mhz=self._clock_mhz("nvmlDeviceGetClockInfo", "SM"),
            memory_clock_mhz=self._clock_mhz("nvmlDeviceGetClockInfo", "MEM"),
            throttle=None if words is None else ", ".join(words),
            clocks_held=None if reasons is None else bool(reasons & CLOCKS_HELD),
        )

    def counters(self) -> dict[str, float]:
        """Nanoseconds since the driver was loaded in which a limit kept the clock down, by column; without those that
        the card does not count."""
        counted = {column: self._violation_ns(policy) for column, policy in POLICIES.items()}
        return {column: ns for column, ns in counted.items() if ns is not None}

    def slowed_s(
        self, before: Mapping[str, float], after: Mapping[str, float], _s: float
    ) -> dict[str, float]:
        """Seconds between two readings of the counters that lie `_s` apart in which it was slowed down, by column."""
        return {name: max(0.0, after[name] - before[name]) / 1e9 for name in before if name in after}

    def facts(self) -> dict[str, Scalar]:
        """How it is set up, for the provenance of rows."""
        ecc, mig = self._of_whole("nvmlDeviceGetEccMode"), self._of_whole("nvmlDeviceGetMigMode")
        limit = self._of_whole("nvmlDeviceGetPowerManagementDefaultLimit")
        return {
            "gpu_persistence_mode": _switch(self._of_whole("nvmlDeviceGetPersistenceMode")),
            "gpu_ecc": _switch(ecc[0] if ecc else None),
            "gpu_mig": _switch(mig[0] if mig else None),
            "gpu_power_limit_default_w": _scaled(limit, 1000),
            "pcie_generation_max": self._of_whole("nvmlDeviceGetMaxPcieLinkGeneration"),
            "pcie_width_max": self._of_whole("nvmlDeviceGetMaxPcieLinkWidth"),
            "sm_clock_max_mhz": self._clock_mhz("nvmlDeviceGetMaxClockInfo", "SM"),
            "memory_clock_max_mhz": self._clock_mhz("nvmlDeviceGetMaxClockInfo", "MEM"),
            "sm_clock_application_mhz": self._clock_mhz("nvmlDeviceGetApplicationsClock", "SM"),
            "memory_clock_application_mhz": self._clock_mhz("nvmlDeviceGetApplicationsClock", "MEM"),
        }

    def _violation_ns(self, policy: str) -> float | None:
        status = self._of_whole(
            "nvmlDeviceGetViolationStatus", getattr(self.nvml, f"NVML_PERF_POLICY_{policy}")
        )
        if status is not None:
            return float(status.violationTime)
        field = getattr(self.nvml, f"NVML_FI_DEV_PERF_POLICY_{policy}")  # the same counter by its newer name
        told = self._of_whole("nvmlDeviceGetFieldValues", [field])
        return float(told[0].value.ullVal) if told and told[0].nvmlReturn == self.nvml.NVML_SUCCESS else None

    def _margin_c(self, temperature_c: int | None) -> int | None:
        margin: int | None = self._of_whole("nvmlDeviceGetMarginTemperature")  # of cards from Hopper on
        slowdown = getattr(self.nvml, "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", None)
        threshold_c = self._of_whole("nvmlDeviceGetTemperatureThreshold", slowdown)
        if margin is not None or threshold_c is None or temperature_c is None:
            return margin
        return int(threshold_c - temperature_c)

    def _clock_mhz(self, question: str, clock: str) -> int | None:
        mhz: int | None = self._of_whole(question, getattr(self.nvml, f"NVML_CLOCK_{clock}"))
        return mhz

    def _ask(self, question: str, *more: Any) -> Any:
        return self._asked(self.device, question, *more)

    def _of_whole(self, question: str, *more: Any) -> Any:
        answer = self._asked(self.device, question, *more)
        return (
            self._asked(self.whole, question, *more)
            if answer is None and self.whole is not self.device
            else answer
        )

    def _asked(self, device: Any, question: str, *more: Any) -> Any:
        """An answer; None for what this card does not support, and what the driver or its library is too old for."""
        try:
            return getattr(self.nvml, question)(*([] if device is None else [device]), *more)
        except (self.nvml.NVMLError, AttributeError):
            return None


@contextmanager
def opened(uuid: str | None) -> Iterator[Card | None]:
    """The GPU with this UUID (as `torch.cuda.get_device_properties` or `nvidia-smi -L` give it) for a `with` block;
    None where NVML does not know it."""
    if not uuid:
        yield None
        return
    with session() as nvml:
        yield _card(nvml, uuid) if nvml else None


def read(uuid: str | None) -> State:
    """The state of the GPU with this UUID now; of one that NVML does not know nothing is told."""
    with opened(uuid) as card:
        return card.state() if card else State()


def _card(nvml: Any, uuid: str) -> Card | None:
    names = [uuid] if uuid.startswith(("GPU-", "MIG-")) else [f"GPU-{uuid}", f"MIG-{uuid}"]
    for name in names:
        with suppress(nvml.NVMLError):
            return Card(nvml, nvml.nvmlDeviceGetHandleByUUID(name))
    return None


def _scaled(value: Any, by: float) -> float | None:
    return value / by if value is not None else None


def _switch(value: Any) -> str | None:
    return None if value is None else "on" if value else "off"
