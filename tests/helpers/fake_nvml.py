"""NVML of a made-up card that can be slowed down in the middle of a run. It knows only the names, arguments and
constants of the installed nvidia-ml-py, so that what is asked of it could be asked of a real driver."""

import importlib
import inspect
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

REAL = importlib.import_module("pynvml")
GIB = 2**30
ANSWERS = {
    "nvmlInit": None,
    "nvmlShutdown": None,
    "nvmlSystemGetDriverVersion": "999.1",
    "nvmlSystemGetCudaDriverVersion": 99000,
    "nvmlDeviceGetTotalEnergyConsumption": 5000,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
    "nvmlDeviceGetTemperature": 60,
    "nvmlDeviceGetTemperatureThreshold": 95,
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3 * GIB),
    "nvmlDeviceGetPersistenceMode": 1,
    "nvmlDeviceGetEccMode": [1, 1],
    "nvmlDeviceGetMigMode": [0, 0],
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
}
MHZ = {REAL.NVML_CLOCK_SM: 1980, REAL.NVML_CLOCK_MEM: 2619}
NOT_ON_MOST_CARDS = ("FromMigDeviceHandle", "MarginTemperature")


def install(monkeypatch: pytest.MonkeyPatch, **how: Any) -> "Nvml":
    """Have this process find a made-up NVML: see `Nvml`."""
    fake = Nvml(**how)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


class Nvml:
    """The module. Questions whose names have one of the words in `mute` raise, as they do where a device does not
    support them; `told` replaces answers; a pid of 0 is this process."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, mute: tuple[str, ...] = (), pids: tuple[int, ...] = (0,), **told: Any) -> None:
        self.mute, self.told = (*NOT_ON_MOST_CARDS, *mute), told
        self.pids = [os.getpid() if pid == 0 else pid for pid in pids]
        self.asked_for: list[str] = []
        self.reasons, self.sm_mhz = REAL.nvmlClocksEventReasonNone, MHZ[REAL.NVML_CLOCK_SM]
        self.violated_ns: dict[int, int] = {}
        self.slowed: tuple[int, int] | None = None

    def slow_down(self, policy: str, reason: str, sm_mhz: int) -> None:
        """From now on a limit keeps the clock down, and its counter runs."""
        self.reasons, self.sm_mhz = getattr(REAL, f"nvmlClocksEventReason{reason}"), sm_mhz
        self.slowed = getattr(REAL, f"NVML_PERF_POLICY_{policy}"), time.perf_counter_ns()

    def recover(self) -> None:
        """The clock is up again, and the counter stands."""
        assert self.slowed
        policy, since_ns = self.slowed
        self.violated_ns[policy] = self.violated_ns.get(policy, 0) + time.perf_counter_ns() - since_ns
        self.reasons, self.sm_mhz, self.slowed = 0, MHZ[REAL.NVML_CLOCK_SM], None

    def __getattr__(self, name: str) -> Any:
        real = getattr(REAL, name)  # AttributeError for what there is not
        if not callable(real):
            return real

        def answer(*asked: Any) -> Any:
            inspect.signature(real).bind(*asked)
            if name not in self.told and any(word in name for word in self.mute):
                raise self.NVMLError
            return self._answer(name, *asked)

        return answer

    def _answer(self, name: str, *asked: Any) -> Any:
        if name == "nvmlDeviceGetHandleByUUID":
            self.asked_for.append(asked[0])
            return "a card"
        if name == "nvmlDeviceGetComputeRunningProcesses":
            return [SimpleNamespace(pid=pid, usedGpuMemory=GIB) for pid in self.pids]
        own = {
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _: self.reasons,
            "nvmlDeviceGetClockInfo": lambda _, c: self.sm_mhz if c == REAL.NVML_CLOCK_SM else MHZ[c],
            "nvmlDeviceGetMaxClockInfo": lambda _, clock: MHZ[clock],
            "nvmlDeviceGetApplicationsClock": lambda _, clock: MHZ[clock],
            "nvmlDeviceGetViolationStatus": lambda _, policy: SimpleNamespace(violationTime=self._ns(policy)),
            "nvmlDeviceGetFieldValues": lambda _, fields: [self._field(field) for field in fields],
        }
        return own[name](*asked) if name in own and name not in self.told else (ANSWERS | self.told)[name]

    def _ns(self, policy: int) -> int:
        running = self.slowed and self.slowed[0] == policy
        return self.violated_ns.get(policy, 0) + (time.perf_counter_ns() - self.slowed[1] if running else 0)

    def _field(self, field: int) -> Any:
        offset = REAL.NVML_FI_DEV_PERF_POLICY_POWER - REAL.NVML_PERF_POLICY_POWER
        value = SimpleNamespace(ullVal=self._ns(field - offset))
        return SimpleNamespace(nvmlReturn=REAL.NVML_SUCCESS, value=value)
