"""Which devices a sweep may use, asked of drivers and the system and never of torch, which would open a context.

A device's name tells its kind: `cpu`; a UUID or MIG name (NVIDIA); `rocm:1` (AMD), `xpu:0` (Intel), each with what the
variable that shows it to a process takes; `mps` (Apple)."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from svdsweep.errors import UserError
from svdsweep.platforms import host
from svdsweep.probes import found
from svdsweep.probes.build import MAKERS, torch_build
from svdsweep.probes.cards import cards_of
from svdsweep.probes.found import Card
from svdsweep.probes.nvml import session

TORCH_NAMES = {"rocm": "cuda"}
"""What torch calls a kind of device where it has another name for it."""
KIND_OF_MAKER = {"NVIDIA": "cuda", "AMD": "rocm", "Intel": "xpu"}


def discover(wanted: str) -> list[str]:
    """The devices that `runner.devices` names, by the names that `environment_of` takes, or `cpu`.

    `auto` is every visible GPU that the installed torch can use, of a GPU in MIG mode every instance, and the CPU where
    there is none. Indices count the visible GPUs, as torch does: under CUDA_VISIBLE_DEVICES=2,3 the device 0 (or
    `cuda:0`) is the GPU 2. Raises UserError."""
    if wanted.strip() == "cpu":
        return ["cpu"]
    here = usable()
    if wanted.strip() == "auto":
        return here or ["cpu"]
    return [_chosen(name.strip(), here, wanted) for name in wanted.split(",") if name.strip()] or ["cpu"]


def usable() -> list[str]:
    """Every visible GPU that the installed torch was built for."""
    build = torch_build()
    if build is None or build.kind == "cuda":
        return [] if _driver_too_old() else visible(installed(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return list(cards_of(build.kind))


def kind(device: str) -> str:
    """`cpu`, `cuda` (NVIDIA), `rocm`, `xpu` or `mps`, by a device's name."""
    name = device.partition(":")[0]
    return name if name in ("cpu", "rocm", "xpu", "mps") else "cuda"


def torch_type(device: str) -> str:
    """What torch calls a device of that name: `cpu`, `cuda`, `xpu` or `mps`."""
    return TORCH_NAMES.get(kind(device), kind(device))


def environment_of(device: str) -> dict[str, str]:
    """The variables under which a process sees this device as its only GPU."""
    token = device.partition(":")[2]
    if kind(device) == "rocm":
        return {"HIP_VISIBLE_DEVICES": token, "CUDA_VISIBLE_DEVICES": token}
    if kind(device) == "xpu":
        return {"ONEAPI_DEVICE_SELECTOR": f"level_zero:{token}"}
    of_nvidia = device if kind(device) == "cuda" else ""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": of_nvidia}


def allotted() -> str:
    """The GPU that a cluster has shown to this process as its only one, by the variable of the torch installed here."""
    build = torch_build()
    if build and build.kind == "rocm":
        return f"rocm:{os.environ.get('HIP_VISIBLE_DEVICES') or os.environ['CUDA_VISIBLE_DEVICES']}"
    if build and build.kind == "xpu":
        return f"xpu:{os.environ['ONEAPI_DEVICE_SELECTOR'].partition(':')[2]}"
    return os.environ["CUDA_VISIBLE_DEVICES"]


def left_out() -> str:
    """The GPUs of this machine that the installed torch cannot use or may not see, each with the reason and the cure;
    empty where there are none, or where some can be used."""
    if usable():
        return ""
    build, listed = torch_build(), [device for gpu in installed() for device in gpu]
    gpus = [(gpu_name(device) or device, _why_not_nvidia()) for device in listed]
    for card in found.on_the_bus():
        if card.integrated or (card.maker == "NVIDIA" and listed):
            continue
        wanted = KIND_OF_MAKER[card.maker]
        if build and build.kind != wanted:
            reason = f"{build}; {_install(wanted)}"
        else:
            reason = {
                "cuda": "its driver does not answer: install or load it, and start a container with --gpus all",
                "rocm": "ROCm shows none: HIP_VISIBLE_DEVICES hides it, or /dev/kfd is missing or not yours (groups "
                "render and video)",
                "xpu": "ONEAPI_DEVICE_SELECTOR or ZE_AFFINITY_MASK hides it, or /dev/dri is missing",
            }[wanted]
        gpus.append((card.name, reason))
    return "; ".join(f"{name} ({reason})" for name, reason in dict.fromkeys(gpus))


def visible(gpus: Sequence[Sequence[str]], mask: str | None) -> list[str]:
    """The devices that the mask CUDA_VISIBLE_DEVICES lets through. Each of `gpus` is a list: its UUID, or those of its
    MIG instances."""
    if mask is None:
        return [device for gpu in gpus for device in gpu]
    seen: list[str] = []
    for name in (part.strip() for part in mask.split(",")):
        if name.isdigit() and int(name) < len(gpus):
            seen += gpus[int(name)]
        elif match := [device for gpu in gpus for device in gpu if name and device.startswith(name)]:
            seen += match[:1]
        else:
            break  # CUDA itself stops at the first name that it does not know
    return seen


def installed() -> list[list[str]]:
    """Every GPU of this machine in PCI order: its UUID, or the UUIDs of its MIG instances; empty without a driver."""
    with session() as nvml:
        return [_parts(nvml, i) for i in range(nvml.nvmlDeviceGetCount())] if nvml else []


def vram_gib(device: str) -> float | None:
    """Memory (GiB) of a device of `discover`; None for the CPU, or where the driver does not tell. A Mac's is that of
    the host, which the GPU shares."""
    if kind(device) != "cuda":
        return _card(device).gib
    memory = _told(device, "nvmlDeviceGetMemoryInfo")
    return memory.total / 2**30 if memory else None


def gpu_name(device: str) -> str | None:
    """The name of a device of `discover`, as PyTorch has it too for NVIDIA's; None for the CPU."""
    if kind(device) != "cuda":
        return _card(device).name or None
    name = _told(device, "nvmlDeviceGetName")
    return _text(name) if name else None


def _card(device: str) -> Card:
    return cards_of(kind(device)).get(device, Card("", ""))


def _driver_too_old() -> str:
    """The release of CUDA that NVIDIA's driver is made for, where it is older than torch's by its first number."""
    build = torch_build()
    if build is None or not build.toolkit:
        return ""
    with session() as nvml:
        try:
            most = int(nvml.nvmlSystemGetCudaDriverVersion()) if nvml else 0
        except (nvml.NVMLError, AttributeError):
            most = 0
    first, second = most // 1000, most % 1000 // 10
    return f"{first}.{second}" if most and first < int(build.toolkit.split(".")[0]) else ""


def _why_not_nvidia() -> str:
    """Why a GPU that NVIDIA's driver lists is not used."""
    build = torch_build()
    if build and build.kind != "cuda":
        return f"{build}; {_install('cuda')}"
    if older := _driver_too_old():
        return f"its driver is made for CUDA {older}, and {build}; update it, or install PyTorch for CUDA {older}"
    return f"hidden by CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')}"


def _install(kind: str) -> str:
    return f"install PyTorch for {MAKERS[kind]}, by the table of pytorch.org/get-started/locally"


def _told(device: str, question: str) -> Any:
    """The driver's answer about a device; None where it gives none."""
    with session() as nvml:
        try:
            return getattr(nvml, question)(nvml.nvmlDeviceGetHandleByUUID(device)) if nvml else None
        except nvml.NVMLError:
            return None


def _parts(nvml: Any, index: int) -> list[str]:
    """The UUID of a GPU, or those of its MIG instances."""
    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError:  # a GPU that has fallen off the bus
        return []
    parted = False
    with suppress(nvml.NVMLError):  # from a GPU that knows no MIG
        parted = nvml.nvmlDeviceGetMigMode(gpu)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    if not parted:
        return [_text(nvml.nvmlDeviceGetUUID(gpu))]
    instances = []
    for i in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        with suppress(nvml.NVMLError):  # from a slot without an instance
            instances.append(_text(nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, i))))
    return instances


def _text(uuid: str | bytes) -> str:
    return uuid.decode() if isinstance(uuid, bytes) else uuid


def _chosen(name: str, here: Sequence[str], wanted: str) -> str:
    if name == "cpu":
        return name
    if device := _meant(name, here):
        return device
    have = ", ".join(f"{i}: {device}" for i, device in enumerate(here)) or "none, only the CPU"
    told = [
        f"runner.devices={wanted}: there is no device {name} here. Visible devices are {have}.",
        "Name them by index or UUID, as torch does (cuda:0, xpu:1, mps), or say auto or cpu.",
    ]
    if gpus := left_out():
        told.append(f"Not to be used: {gpus}.")
    raise UserError(" ".join(told))


def _meant(name: str, here: Sequence[str]) -> str | None:
    """The device that is called so by index, as torch spells it, or by the begin of its own name."""
    if name.isdigit() or (spelt := re.fullmatch(r"(cuda|xpu|mps|rocm):?(\d*)", name)) is None:
        match = [device for device in here if not name.isdigit() and device.startswith(name)]
        return here[int(name)] if name.isdigit() and int(name) < len(here) else next(iter(match), None)
    number = int(spelt[2] or 0)
    return here[number] if spelt[1] in _spellings(here) and number < len(here) else None


def _spellings(here: Sequence[str]) -> set[str]:
    """What the GPUs here may be called: all are of one kind, that of the installed torch."""
    return {name for device in here[:1] for name in (torch_type(device), kind(device))}


def cores() -> int:
    """The CPU cores that this process may use: what the user says by OMP_NUM_THREADS, else what SLURM has allotted to
    the task, else those that the system lets it use."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        number = os.environ.get(name, "")
        if number.isdigit() and int(number):
            return int(number)
    return host.cores()
