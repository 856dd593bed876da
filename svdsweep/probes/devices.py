"""Which devices a sweep may use, asked of NVML and never of torch, which would open a context in the driver."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from svdsweep.errors import UserError
from svdsweep.probes.nvml import session


def discover(wanted: str) -> list[str]:
    """The devices that `runner.devices` names, as CUDA_VISIBLE_DEVICES takes them (UUIDs if known), or `cpu`.

    `auto` is every visible GPU, of a GPU in MIG mode every instance, and the CPU where there is none. Indices count the
    visible GPUs, as torch does: under CUDA_VISIBLE_DEVICES=2,3 the device 0 is the GPU 2. Raises UserError."""
    if wanted.strip() == "cpu":
        return ["cpu"]
    here = visible(installed(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if wanted.strip() == "auto":
        return here or ["cpu"]
    return [_chosen(name.strip(), here, wanted) for name in wanted.split(",") if name.strip()] or ["cpu"]


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
    """Memory (GiB) of a device of `discover`; None for the CPU, or where the driver does not tell."""
    memory = _told(device, "nvmlDeviceGetMemoryInfo")
    return memory.total / 2**30 if memory else None


def gpu_name(device: str) -> str | None:
    """The name of a device of `discover`, as PyTorch has it too; None for the CPU."""
    name = _told(device, "nvmlDeviceGetName")
    return _text(name) if name else None


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
    if name.isdigit() and int(name) < len(here):
        return here[int(name)]
    if match := [device for device in here if not name.isdigit() and device.startswith(name)]:
        return match[0]
    have = ", ".join(f"{i}: {device}" for i, device in enumerate(here)) or "none, only the CPU"
    raise UserError(
        f"runner.devices={wanted}: there is no device {name} here. Visible devices are {have}. "
        "Name them by index or UUID, or say auto or cpu."
    )


def cores() -> int:
    """The CPU cores that this process may use: what the user says by OMP_NUM_THREADS, else what SLURM has allotted to
    the task, else the process's affinity mask."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        number = os.environ.get(name, "")
        if number.isdigit() and int(number):
            return int(number)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
