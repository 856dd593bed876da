"""GPUs that are not here: what Linux and macOS tell of them, and a PyTorch that computes for them on the CPU."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from svdsweep.memory import offload
from svdsweep.probes import devices, found
from svdsweep.probes.build import Build

GIB = 2**30
BUILDS = {kind: Build(kind, toolkit, f"9.9+{kind}") for kind, toolkit in (("cuda", "13.0"), ("rocm", "6.4"))}
BUILDS |= {kind: Build(kind, "", f"9.9+{kind}") for kind in ("xpu", "mps", "cpu")}
DEVICES = {"cpu": "cpu", "cuda": "GPU-aa", "rocm": "rocm:0", "xpu": "xpu:0", "mps": "mps"}
"""What `discover("auto")` finds on a machine of each kind."""
AMD = [("0000:03:00.0", "0x1002", "0x744c", 24.0), ("0000:0d:00.0", "0x1002", "0x164e", 0.5)]
INTEL = [("0000:00:02.0", "0x8086", "0x4680", None), ("0000:04:00.0", "0x8086", "0x56a0", None)]
NVIDIA = [("0000:01:00.0", "0x10de", "0x2204", None)]
LISTED = {"rocm": AMD, "xpu": INTEL}
PCI_IDS = """\
# a list
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]
\t164e  Raphael
10de  NVIDIA Corporation
\t2204  GA102 [GeForce RTX 3090]
\t\t10de 1454  a board of it
8086  Intel Corporation
\t4680  AlderLake-S GT1
\t56a0  DG2 [Arc A770]
"""


def machine(patch: pytest.MonkeyPatch, root: Path, kind: str, cards: Any = None, build: str = "") -> None:
    """Have this process see a machine with the cards of a kind, and a torch that is built for it or for `build`."""
    for name in ("CUDA", "HIP", "ROCR"):
        patch.delenv(f"{name}_VISIBLE_DEVICES", raising=False)
    patch.delenv("ZE_AFFINITY_MASK", raising=False)
    patch.delenv("ONEAPI_DEVICE_SELECTOR", raising=False)
    patch.setattr(devices, "torch_build", lambda: BUILDS[build or kind])
    patch.setattr(devices, "installed", lambda: [["GPU-aa"]] if kind == "cuda" else [])
    patch.setattr(found, "SYS", root / "sys")
    if kind == "mps":
        patch.setattr(found.host, "gpus_chip", lambda: "Apple M2 Max")
        return
    patch.setattr(found.host, "gpus_chip", lambda: None)
    _on_linux(root, LISTED.get(kind, []) if cards is None else cards)


def _on_linux(root: Path, cards: Any) -> None:
    def write(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")

    write("sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 16\nsimd_count 0\n")
    write("usr/share/hwdata/pci.ids", PCI_IDS)
    write("usr/share/libdrm/amdgpu.ids", "# a list\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n")
    for number, (address, vendor, device, gib) in enumerate(cards, 1):
        folder = f"sys/bus/pci/devices/{address}"
        facts = {"vendor": vendor, "device": device, "class": "0x030000", "revision": "0xc8"}
        facts |= {"mem_info_vram_total": str(int(gib * GIB))} if gib else {}
        for name, text in facts.items():
            write(f"{folder}/{name}", f"{text}\n")
        if vendor == "0x1002":
            place = int(address.split(":")[1], 16) << 8
            properties = f"cpu_cores_count 0\nsimd_count 192\nlocation_id {place}\ndomain 0\n"
            write(f"sys/class/kfd/kfd/topology/nodes/{number}/properties", properties)
            write("dev/kfd", "")
        write("dev/dri/renderD128", "")


class _OnTheCpu(TorchFunctionMode):
    """Whatever is asked of a device of this type is done on the CPU."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def _moved(self, x: Any) -> Any:
        named = isinstance(x, str) and x.split(":")[0] == self.kind
        return torch.device("cpu") if named or (isinstance(x, torch.device) and x.type == self.kind) else x

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        kwargs = {name: self._moved(x) for name, x in (kwargs or {}).items()}
        return func(*map(self._moved, args), **kwargs)


class Event:
    """A device's event, of which the host's clock is read."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, *_: Any) -> None:
        self.at_s = time.perf_counter()

    def elapsed_time(self, later: "Event") -> float:
        return (later.at_s - self.at_s) * 1000


@contextmanager
def computing(patch: pytest.MonkeyPatch, kind: str) -> Iterator[torch.device]:
    """A GPU of a kind in this process: its torch module answers, the CPU does its work."""
    card = SimpleNamespace(
        name="A card", total_memory=16 * GIB, driver_version="1.2", gcnArchName="gfx1100:xnack-"
    )
    if kind == "cuda":
        patch.setattr(torch.backends.cudnn, "version", lambda: None)
        card = SimpleNamespace(name="A card", total_memory=16 * GIB, uuid="aa", major=9, minor=0)
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda _: card,
        "Event": Event,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "current_stream": lambda _: None,
        "memory_allocated": lambda _: 2 * GIB,
        "reset_peak_memory_stats": lambda _: None,
        "max_memory_allocated": lambda _: 3 * GIB,
        "memory_stats_as_nested_dict": lambda _: {"allocated_bytes": {"all": {"peak": 3 * GIB}}},
        "max_memory_reserved": lambda _: 4 * GIB,
        "mem_get_info": lambda _: (10 * GIB, 16 * GIB),
        "set_per_process_memory_fraction": lambda *_: None,
    }
    of_apple = {"current_allocated_memory": lambda: 2 * GIB, "driver_allocated_memory": lambda: 5 * GIB}
    of_apple |= {"recommended_max_memory": lambda: 12 * GIB}
    torch_name = {"rocm": "cuda"}.get(kind, kind)
    module = getattr(torch, torch_name)
    for name, answer in (answers | of_apple if kind == "mps" else answers).items():
        if kind != "mps" or hasattr(module, name):
            patch.setattr(module, name, answer, raising=False)
    if kind == "rocm":
        patch.setattr(torch.version, "hip", "6.4")
    if kind == "mps":
        patch.setattr(torch.backends.mps, "is_available", lambda: True)
    patch.setitem(sys.modules, "amdsmi", None)
    patch.setattr(offload, "_is_on", lambda *_: True)  # tensors stay where they can be
    with _OnTheCpu(torch_name):
        yield torch.device(torch_name, 0)
