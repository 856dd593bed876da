"""The host: driver and GPUs as the driver sees them, packages, ffmpeg, weights, disk and memory. No torch."""

import dataclasses
import os
import shutil
from pathlib import Path

import psutil

from svdsweep.commands.doctor import spoilers
from svdsweep.commands.doctor.finding import Finding, note, ok, trouble
from svdsweep.config import Model
from svdsweep.config.version import version_of
from svdsweep.errors import UserError
from svdsweep.images import ffmpeg
from svdsweep.probes.nvml import State

GIB = 2**30
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "hydra-core")
EXTRAS = {
    "torchao": "int8 and fp8 weights: pip install 'svdsweep[quantization]'",
    "DeepCache": "deepcache_interval: pip install 'svdsweep[deepcache]'",
    "stlpips_pytorch": "metrics=perceptual: pip install 'svdsweep[perceptual]'",
    "pycvvdp": "metrics=perceptual: pip install 'svdsweep[perceptual]'",
    "xformers": "attention=xformers: pip install xformers, in the version for your torch",
    "sageattention": "attention=sage: pip install sageattention, on a GPU",
}
LITTLE_DISK_GIB = 5
"""A sweep of a hundred full-size videos with contact sheets and kept baselines takes about this."""
LITTLE_RAM_GIB = 12
"""Offloaded SVD in float16 keeps some 4.5 GiB of weights in host memory, twice that while they are loaded."""


def examine(runs_dir: Path) -> list[Finding]:
    """Everything that can be told without torch."""
    return [*gpus(), *packages(), encoder(), *weights(), disk(runs_dir), cache_disk(), ram()]


def gpus() -> list[Finding]:
    """The GPUs that a sweep takes; what NVML lists, and what CUDA_VISIBLE_DEVICES lets through."""
    from svdsweep.probes.devices import installed, kind, left_out, usable, visible

    listed, others = installed(), [device for device in usable() if kind(device) != "cuda"]
    if others:
        return [finding for device in others for finding in other_gpu(device)]
    if not listed:
        nodes = [p.name for p in Path("/dev").glob("nvidia[0-9]*")]
        if nodes:
            cure = "load the NVIDIA driver (does nvidia-smi work?); in a container, start it with --gpus all"
            return [trouble("GPU", f"{', '.join(nodes)} in /dev, but the driver does not answer", cure)]
        if unused := left_out():
            return [trouble("GPU", unused, "until then the CPU computes")]
        return [note("GPU", "none; the tiny model, and predictions of VRAM, work without one")]
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    uuids = visible(listed, mask)
    if not uuids:
        cure = "unset CUDA_VISIBLE_DEVICES, or name an index or UUID that nvidia-smi -L lists"
        return [trouble("GPU", f"{len(listed)} installed, none visible: CUDA_VISIBLE_DEVICES={mask}", cure)]
    return [finding for uuid in uuids for finding in gpu(uuid)]


def gpu(uuid: str) -> list[Finding]:
    """A GPU's state now, and what spoils benchmarks on it, by NVML."""
    from svdsweep.probes import nvml

    with nvml.opened(uuid) as card:
        state, facts = (card.state(), card.facts()) if card else (State(), {})
    return [_now(uuid, state), *spoilers.of_nvidia(uuid, state, facts)]


def _now(uuid: str, state: State) -> Finding:
    name = f"GPU {uuid[:12]}"
    in_use = f", {state.device_gib:.1f} GiB in use" if state.device_gib is not None else ""
    text = f"driver {state.driver}{in_use}"
    if not state.throttle:
        return ok(name, text)
    cure = "wait until it has cooled, or raise its power limit: times measured now are too long"
    return trouble(name, f"{text}, slowed down: {state.throttle}", cure)


def other_gpu(device: str) -> list[Finding]:
    """A GPU of AMD, Intel or Apple, as the system tells of it, and what spoils benchmarks on AMD's."""
    from svdsweep.probes import amd
    from svdsweep.probes.cards import cards_of
    from svdsweep.probes.devices import gpu_name, kind, vram_gib

    gib = vram_gib(device)
    found = [ok(f"GPU {device}", f"{gpu_name(device)}" + (f", {gib:.1f} GiB" if gib else ""), gib)]
    if kind(device) == "rocm" and (seen := cards_of("rocm").get(device)):
        with amd.opened(seen.address) as card:
            found += spoilers.shared(device, card.state(), card.facts(), "amd-smi") if card else []
    return found


def packages() -> list[Finding]:
    """Versions; the extras that are not there only cost their strategies."""
    cure = "pip install svdsweep, in the environment that you run"
    versions = {name: version_of(name) or "" for name in (*PACKAGES, *EXTRAS)}
    findings = [ok(n, versions[n]) if versions[n] else trouble(n, "not installed", cure) for n in PACKAGES]
    if extras := [f"{name} {versions[name]}" for name in EXTRAS if versions[name]]:
        findings.append(ok("extras", ", ".join(extras)))
    missing = [name for name in EXTRAS if not versions[name]]
    return findings + [note(name, "not installed", f"only for {EXTRAS[name]}") for name in missing]


def encoder() -> Finding:
    """The program that writes the videos."""
    if why := ffmpeg.fault():
        return trouble("ffmpeg", why, ffmpeg.cure())
    import imageio_ffmpeg

    return ok("ffmpeg", f"{imageio_ffmpeg.get_ffmpeg_version()} with {ffmpeg.CODEC}")


def weights() -> list[Finding]:
    """Each model preset: whether it would run now, without a download."""
    from svdsweep.grid.jobs import Points
    from svdsweep.grid.presets import CONF, configs

    with configs() as hydra:
        presets = sorted(p.stem for p in (CONF / "model").glob("*.yaml"))
        models = {name: Points(hydra, []).composed({"model": name}).model for name in presets}
    return [weights_of(f"model {name}", model) for name, model in models.items()]


def weights_of(name: str, model: Model) -> Finding:
    """Whether a model's weights are all on this machine, and whole."""
    from svdsweep.config.parts import OWN
    from svdsweep.models.locate import folder_of, judged
    from svdsweep.models.pieces import how_to_fetch, locate
    from svdsweep.models.unet import KEY, piece_of

    without = "or model.weights=random for VRAM and latency without them"
    lacks_unet = model.unet != OWN and not locate(piece_of(model))
    fetch_unet = how_to_fetch(piece_of(model)) if lacks_unet else ""
    try:
        folder_of(model)
    except UserError:
        if not lacks_unet and (file := _in_comfyui(model)):
            return ok(name, f"would run now with model.source=comfyui:{model.name}, from {file}")
        cure = f"accept the licence on the hub, hf auth login, hf download {model.source}"
        cure += f", {fetch_unet}" if lacks_unet else ""
        return note(name, "its weights are not on this machine", f"{cure}; {without}")
    if lacks_unet:
        return note(name, f"its {KEY} is not on this machine", f"{fetch_unet}; {without}")
    try:
        folder, _ = judged(model)
    except UserError as e:
        found, _, cure = str(e).partition(". ")
        return trouble(name, found, cure)
    return ok(name, f"would run now, {_whence(model, folder)}")


def _whence(model: Model, place: Path) -> str:
    """Where the folder or file that would be read comes from."""
    if model.source == "embedded":
        return f"embedded, from {place}"
    if place.parent.name == "snapshots":
        return f"from the hub's cache, snapshot {place.name[:12]} in {place.parents[1]}"
    return f"from {place}"


def _in_comfyui(model: Model) -> Path | None:
    """The whole checkpoint of a preset's name among ComfyUI's, if there is one."""
    from svdsweep.models.locate import judged

    try:
        return judged(dataclasses.replace(model, source=f"comfyui:{model.name}"))[0]
    except UserError:
        return None


def disk(runs_dir: Path) -> Finding:
    """Room and right to write where the sweeps go."""
    place = _existing(runs_dir.absolute())
    if not os.access(place, os.W_OK):
        return trouble("runs", f"{place} cannot be written to", "choose another folder with runs_dir=FOLDER")
    return _room("runs", place, "make room, or choose another disk with runs_dir=FOLDER")


def cache_disk() -> Finding:
    """Room where the hub's weights go."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cure = "make room, or move the cache with HF_HOME=FOLDER"
    return _room("weights' cache", _existing(Path(HF_HUB_CACHE)), cure)


def _existing(path: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def _room(name: str, place: Path, cure: str) -> Finding:
    free = shutil.disk_usage(place).free / GIB
    text = f"{free:.1f} GiB free at {place}"
    return trouble(name, text, cure, free) if free < LITTLE_DISK_GIB else ok(name, text, free)


def ram() -> Finding:
    """Host memory that is free now."""
    free = psutil.virtual_memory().available / GIB
    text = f"{free:.1f} GiB free"
    if free >= LITTLE_RAM_GIB:
        return ok("host memory", text, free)
    cure = "offloading the full-size model wants some 12 GiB; the tiny model runs in 2"
    return note("host memory", text, cure, free)
