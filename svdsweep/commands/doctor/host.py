"""The host: driver and GPUs as the driver sees them, packages, ffmpeg, weights, disk and memory. No torch."""

import importlib.metadata
import os
import shutil
import subprocess
from pathlib import Path

import psutil

from svdsweep.commands.doctor.finding import Finding
from svdsweep.errors import UserError
from svdsweep.worker.media import FFMPEG_CURE

GIB = 2**30
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "hydra-core")
EXTRAS = {
    "torchao": "int8 and fp8 weights: pip install 'svdsweep[quantization]'",
    "DeepCache": "deepcache_interval: pip install 'svdsweep[deepcache]'",
    "xformers": "attention=xformers: pip install xformers, in the version for your torch",
    "sageattention": "attention=sage: pip install sageattention, on a GPU",
}
LITTLE_DISK_GIB = 5
"""A sweep of a hundred full-size videos with contact sheets and kept baselines takes about this."""
LITTLE_RAM_GIB = 12
"""Offloaded SVD in float16 keeps some 4.5 GiB of weights in host memory, twice that while they are loaded."""


def examine(runs_dir: Path) -> list[Finding]:
    """Everything that can be told without torch."""
    return [*gpus(), *packages(), ffmpeg(), *weights(), disk(runs_dir), cache_disk(), ram()]


def gpus() -> list[Finding]:
    """What NVML lists, and what CUDA_VISIBLE_DEVICES lets through."""
    from svdsweep.probes import nvml
    from svdsweep.probes.devices import installed, visible

    listed = installed()
    if not listed:
        nodes = [p.name for p in Path("/dev").glob("nvidia[0-9]*")]
        if nodes:
            return [
                Finding(
                    "GPU", "trouble", f"{', '.join(nodes)} in /dev, but the driver does not answer",
                    "load the NVIDIA driver (does nvidia-smi work?); in a container, start it with --gpus all",
                )
            ]  # fmt: skip
        return [Finding("GPU", "note", "none; the tiny model, and predictions of VRAM, work without one")]
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = visible(listed, mask)
    if not seen:
        return [
            Finding(
                "GPU", "trouble", f"{len(listed)} installed, none visible: CUDA_VISIBLE_DEVICES={mask}",
                "unset CUDA_VISIBLE_DEVICES, or name an index or UUID that nvidia-smi -L lists",
            )
        ]  # fmt: skip
    found = []
    for uuid in seen:
        state = nvml.read(uuid)
        parts = [f"driver {state.driver}"]
        if state.device_gib is not None:
            parts.append(f"{state.device_gib:.1f} GiB in use")
        if state.throttle:
            parts.append(f"slowed down: {state.throttle}")
        found.append(
            Finding(
                f"GPU {uuid[:12]}", "trouble" if state.throttle else "ok", ", ".join(parts),
                "wait until it has cooled, or raise its power limit: times measured now are too long"
                if state.throttle else "",
            )
        )  # fmt: skip
    return found


def packages() -> list[Finding]:
    """Versions; the extras that are not there only cost their strategies."""
    found = []
    for name in PACKAGES:
        version = _version(name)
        found.append(
            Finding(name, "ok", version)
            if version
            else Finding(
                name, "trouble", "not installed", "pip install svdsweep, in the environment that you run"
            )
        )
    missing = {name: what for name, what in EXTRAS.items() if not _version(name)}
    have = [f"{name} {_version(name)}" for name in EXTRAS if name not in missing]
    if have:
        found.append(Finding("extras", "ok", ", ".join(have)))
    found += [Finding(name, "note", "not installed", f"only for {what}") for name, what in missing.items()]
    return found


def ffmpeg() -> Finding:
    """The encoder that the videos need."""
    try:
        import imageio_ffmpeg

        path = imageio_ffmpeg.get_ffmpeg_exe()
        listed = subprocess.run(
            [path, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=30
        )
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as e:
        return Finding("ffmpeg", "trouble", f"does not start ({e})", FFMPEG_CURE)
    if "libx264" not in listed.stdout:
        return Finding("ffmpeg", "trouble", f"{path} has no libx264", FFMPEG_CURE)
    return Finding("ffmpeg", "ok", f"{imageio_ffmpeg.get_ffmpeg_version()} with libx264")


def weights() -> list[Finding]:
    """Each model preset: whether it would run now, without a download."""
    from svdsweep.grid.jobs import Points
    from svdsweep.grid.presets import CONF, configs
    from svdsweep.models.locate import WEIGHTS, folder_of

    found = []
    with configs() as known:
        presets = sorted(p.stem for p in (CONF / "model").glob("*.yaml"))
        models = {name: Points(known, []).composed({"model": name}).model for name in presets}
    for name, model in models.items():
        try:
            folder = folder_of(model)
        except UserError:
            found.append(
                Finding(
                    f"model {name}", "note", "its weights are not on this machine",
                    f"accept the licence on the hub, hf auth login, hf download {model.source}; or "
                    "model.weights=random for VRAM and latency without them",
                )
            )  # fmt: skip
            continue
        lacking = [
            part for part, stem in WEIGHTS.items() if not any((folder / part).glob(f"{stem}*.safetensors*"))
        ]
        if lacking:
            cure = (
                f"hf download {model.source} again"
                if model.source.count("/") == 1
                else "copy the folder again"
            )
            found.append(Finding(f"model {name}", "trouble", f"{folder} lacks {', '.join(lacking)}", cure))
        else:
            found.append(Finding(f"model {name}", "ok", f"would run now, from {folder}"))
    return found


def disk(runs_dir: Path) -> Finding:
    """Room and right to write where the sweeps go."""
    place = next((p for p in (runs_dir.absolute(), *runs_dir.absolute().parents) if p.exists()), Path("/"))
    if not os.access(place, os.W_OK):
        return Finding(
            "runs", "trouble", f"{place} cannot be written to", "choose another folder with runs_dir=FOLDER"
        )
    return _room("runs", place, LITTLE_DISK_GIB, "make room, or choose another disk with runs_dir=FOLDER")


def cache_disk() -> Finding:
    """Room where the hub's weights go."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = next((p for p in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if p.exists()), Path("/"))
    return _room("weights' cache", place, LITTLE_DISK_GIB, "make room, or move the cache with HF_HOME=FOLDER")


def _room(name: str, place: Path, least_gib: float, cure: str) -> Finding:
    free = shutil.disk_usage(place).free / GIB
    text = f"{free:.1f} GiB free at {place}"
    if free < least_gib:
        return Finding(name, "trouble", text, cure, free)
    return Finding(name, "ok", text, value=free)


def ram() -> Finding:
    """Host memory that is free now."""
    free = psutil.virtual_memory().available / GIB
    text = f"{free:.1f} GiB free"
    if free < LITTLE_RAM_GIB:
        return Finding(
            "host memory",
            "note",
            text,
            "offloading the full-size model wants some 12 GiB; the tiny model runs in 2",
            free,
        )
    return Finding("host memory", "ok", text, value=free)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
