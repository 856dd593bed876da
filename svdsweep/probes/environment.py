"""Where a number was made: host, device, versions, and all else that it depends on. What cannot be read is None."""

import os
import platform
import socket
import subprocess
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import psutil
import torch

from svdsweep.backends import backend_of
from svdsweep.config.version import version_of
from svdsweep.platforms import host
from svdsweep.probes import amd, nvml
from svdsweep.probes.nvml import State
from svdsweep.store.kinds import Scalar

PACKAGES = (
    *("torch", "diffusers", "transformers", "accelerate"),
    *("torchao", "xformers", "sageattention", "DeepCache"),
)
"""Their versions are part of a row's provenance."""


def provenance(device: torch.device) -> dict[str, Scalar]:
    """The facts about this machine for the rows of a worker on `device`, by name."""
    allocator = os.environ.get("PYTORCH_CUDA_ALLOC_CONF") or os.environ.get("PYTORCH_ALLOC_CONF")
    facts: dict[str, Scalar] = {
        "host": socket.gethostname(),
        "device": str(device),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": host.cpu_name(),
        "cpu_cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "host_ram_gib": psutil.virtual_memory().total / 2**30,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "allocator": allocator or "default",
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "sdpa_kernels": _sdpa_kernels(device),
        "git": _git_revision(),
    }
    facts |= {package.lower(): version_of(package) for package in PACKAGES}
    if told := backend_of(device).facts(device):
        with opened(device) as card:
            state, set_up = (card.state(), card.facts()) if card else (State(), {})
        facts |= set_up | told | {"gpu": device_name(device), "gpu_uuid": uuid_of(device)}
        facts |= {"driver": state.driver or told.get("driver"), "gpu_power_limit_w": state.power_limit_w}
    return facts


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's: results are bit-equal only on one kind of device."""
    return str(backend_of(device).facts(device).get("gpu") or host.cpu_name() or "cpu")


def opened(device: torch.device) -> AbstractContextManager[nvml.Card | amd.Card | None]:
    """The device as its driver's library knows it, for a `with` block; None where no library is asked."""
    if backend_of(device).kind == "rocm":
        return amd.opened(amd.address_of(torch.cuda.get_device_properties(device)))
    return nvml.opened(uuid_of(device))


def state_of(device: torch.device) -> State:
    """What the driver tells of the device now; all of it None where no driver's library is asked."""
    with opened(device) as card:
        return card.state() if card else State()


def uuid_of(device: torch.device) -> str | None:
    """The GPU's UUID, by which NVML finds it whatever CUDA_VISIBLE_DEVICES says; None on the CPU."""
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return str(uuid) if uuid is not None else None


def _sdpa_kernels(device: torch.device) -> str | None:
    """The attention kernels that are switched on; without a fused one SVD needs some 40 GiB for attention scores."""
    if device.type != "cuda":
        return None
    switches = {
        "flash": torch.backends.cuda.flash_sdp_enabled(),  # type: ignore[no-untyped-call]
        "efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),  # type: ignore[no-untyped-call]
        "cudnn": torch.backends.cuda.cudnn_sdp_enabled(),  # type: ignore[no-untyped-call]
        "math": torch.backends.cuda.math_sdp_enabled(),  # type: ignore[no-untyped-call]
    }
    return ",".join(name for name, on in switches.items() if on)


@cache
def _git_revision() -> str | None:
    """The commit of the checkout that this package runs from, with `-dirty` when files differ; None when it is
    installed."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
        told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=10)
        return told.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
