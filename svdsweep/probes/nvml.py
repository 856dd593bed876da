"""What the driver knows of a GPU (NVML): energy, clocks, temperature, throttling, and who else is on it. No torch.

Each reading is None where the device, the driver or the container does not tell it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

GIB = 2**30

THROTTLE = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
}
"""Clock event reasons that slow a run down, by NVML's bits; idling and chosen clocks are not among them."""


@dataclass(frozen=True)
class State:
    """One reading of a GPU."""

    energy_j: float | None = None
    """Energy since the driver was loaded; what a run took is the difference of two readings."""
    power_limit_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    throttle: str | None = None
    """The reasons for a slower clock at this moment, comma separated; empty where there is none."""
    process_gib: float | None = None
    """Device memory of this process with CUDA context and libraries, which the allocator does not see."""
    device_gib: float | None = None
    other_processes: int | None = None
    """Other processes that compute on the device."""
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


def read(uuid: str | None) -> State:
    """The state of the GPU with this UUID (as `torch.cuda.get_device_properties` or `nvidia-smi -L` give it)."""
    if not uuid:
        return State()
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    with session() as nvml:
        try:
            return _state(nvml, nvml.nvmlDeviceGetHandleByUUID(name)) if nvml else State()
        except nvml.NVMLError:
            return State()


def _state(nvml: Any, device: Any) -> State:
    def ask(question: Callable[..., Any], *more: Any) -> Any:
        try:
            return question(device, *more)
        except (nvml.NVMLError, AttributeError):
            return None

    def scaled(value: Any, by: float) -> float | None:
        return value / by if value is not None else None

    processes = ask(nvml.nvmlDeviceGetComputeRunningProcesses)
    mine = [p for p in processes or [] if p.pid == os.getpid()]
    memory = ask(nvml.nvmlDeviceGetMemoryInfo)
    reasons = ask(nvml.nvmlDeviceGetCurrentClocksEventReasons)
    words = None if reasons is None else [word for bit, word in THROTTLE.items() if reasons & bit]
    try:
        driver = nvml.nvmlSystemGetDriverVersion()
    except nvml.NVMLError:
        driver = None
    return State(
        energy_j=scaled(ask(nvml.nvmlDeviceGetTotalEnergyConsumption), 1000),
        power_limit_w=scaled(ask(nvml.nvmlDeviceGetEnforcedPowerLimit), 1000),
        sm_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
        temperature_c=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        throttle=None if words is None else ", ".join(words),
        process_gib=scaled(mine[0].usedGpuMemory, GIB) if mine else None,
        device_gib=scaled(memory.used, GIB) if memory else None,
        # inside a container the driver reports process ids of the host, or none: this process is not among them
        other_processes=len(processes) - 1 if mine and processes is not None else None,
        driver=driver,
    )
