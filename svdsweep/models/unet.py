"""Another UNet in the place of a model's own: found, and judged by its headers; without torch."""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svdsweep.config import Model
from svdsweep.config.parts import OWN
from svdsweep.errors import UserError
from svdsweep.models import pieces
from svdsweep.models.architectures import architecture
from svdsweep.models.contents import (
    UNREAD,
    of_class,
    of_numbers,
    of_tensors,
    read_config,
    read_weights,
    shard_files,
)
from svdsweep.models.headers import Tensor
from svdsweep.models.judge import unreadable, whats
from svdsweep.models.layout import CONFIGS, PICKLES, WEIGHTS, Fault, variants, weights_of
from svdsweep.models.mistaken import GGUF, TO_SAFETENSORS
from svdsweep.models.original import NOT_READ, UNET, VAE, Origin, origins
from svdsweep.models.pieces import Piece
from svdsweep.models.single import ENDS, of_network, of_types
from svdsweep.models.tensors import expected

KEY = "model.unet"
FILES = ("config.json", "unet/config.json", "*diffusion_pytorch_model*", "unet/diffusion_pytorch_model*")
ALLOWED = (
    "Allowed is a folder in diffusers' layout (config.json and diffusion_pytorch_model.safetensors, alone or in "
    "unet/, as trainers write into checkpoint-1000), or a safetensors file of a whole UNet."
)
ORIGINAL = (UNET, "diffusion_model.", "")
"""What stands before the original's names: in a checkpoint, in a UNet that ComfyUI saved, in one saved by itself."""
FIRST = "input_blocks.0.0.weight"
BESIDE = (VAE, "conditioner.")
"""The other networks of a checkpoint, of which the UNet alone is read."""
Configs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """A whole UNet: what it is made of."""

    config: Mapping[str, Any]
    files: tuple[Path, ...]
    origins: Mapping[str, Origin]
    """Where each tensor lies, by its name in diffusers."""
    doubt: str = ""


def piece_of(model: Model) -> Piece:
    """The UNet that a model's settings name."""
    return Piece(KEY, model.unet, model.unet_revision, FILES)


def pinned(model: Model, configs: Configs | None) -> Model:
    """The model with its other UNet pinned, judged where it is here (`configs`: those of the model around it, if they
    are known). Raises UserError."""
    if model.unet == OWN:
        return dataclasses.replace(model, unet_revision=None)
    piece = piece_of(model)
    place = pieces.locate(piece)
    if place and configs:
        judged(piece, place, model.variant, configs)
    text, revision = pieces.pinned(piece, place)
    return dataclasses.replace(model, unet=text, unet_revision=revision)


def found(model: Model, configs: Configs) -> Found:
    """The other UNet of a resolved model, on this machine. Raises UserError."""
    piece = piece_of(model)
    return judged(piece, pieces.needed(piece), model.variant, configs)


def configs_in(place: Path, model: Model) -> Configs:
    """The configs of the networks of a model that was judged: a folder's own, or those of its architecture."""
    if place.is_dir():
        read = {part: read_config(place, CONFIGS[part]) for part in WEIGHTS}
        return {part: config for part, config in read.items() if not isinstance(config, Fault)}
    return configs_of(model)


def configs_of(model: Model) -> Configs:
    """The configs of a model's architecture."""
    sizes = architecture(model.architecture)
    return {part: getattr(sizes, part) for part in WEIGHTS}


def judged(piece: Piece, place: Path, variant: str | None, configs: Configs) -> Found:
    """A UNet that is whole and fits the networks around it. Raises UserError with what is wrong, in one paragraph."""
    try:
        looked = _of_file(place, configs) if place.is_file() else _of_folder(place, variant, configs)
    except OSError as e:
        raise unreadable(place, e) from e
    if isinstance(looked, Found):
        return looked
    cures = " ".join(dict.fromkeys(fault.cure for fault in looked))
    raise UserError(f"{piece.said}: {whats(looked)}. {cures}")


def _of_folder(folder: Path, variant: str | None, configs: Configs) -> Found | list[Fault]:
    """The UNet of a folder that has it, or that has one in unet/."""
    doubt = ""
    if not (folder / "config.json").is_file() and (folder / "unet").is_dir():
        if (folder / "unet_ema").is_dir():
            doubt = f"{KEY}={folder}: unet/ is read; {folder / 'unet_ema'} holds its mean over the training."
        folder = folder / "unet"
    config = read_config(folder, "config.json") if (folder / "config.json").is_file() else None
    if config is None:
        return [Fault(f"there is no config.json in {folder}", _instead(folder))]
    if isinstance(config, Fault):
        return [config]
    if faults := of_class("unet", config) or of_numbers({**configs, "unet": config}):
        return faults
    names = {f"unet/{path.name}" for path in folder.iterdir() if path.is_file()}
    kinds = dict.fromkeys((variant, None, *sorted(filter(None, variants(names, "unet")))))
    read = next((weights for kind in kinds if (weights := weights_of(names, "unet", kind))), None)
    if not read:
        return [Fault(f"there are no weights in {folder}", _instead(folder))]
    name = f"{folder.name}/{Path(read.name).name}"
    tensors = read_weights(folder.parent, name)
    if isinstance(tensors, Fault):
        return [tensors]
    if faults := of_tensors("unet", name, tensors, {"unet": config}):
        return faults
    return Found(config, shard_files(folder.parent, name), _as_they_are(config), doubt)


def _of_file(path: Path, configs: Configs) -> Found | list[Fault]:
    """The UNet of a single file, under diffusers' names or Stability's, of the sizes that the model's own has."""
    if path.suffix not in ENDS:
        return [_no_safetensors(path)]
    there = read_weights(path.parent, path.name)
    if isinstance(there, Fault):
        return [there]
    config = configs["unet"]
    if fault := _another_kind(path.name, there):
        return [fault]
    prefix = next((prefix for prefix in ORIGINAL if f"{prefix}{FIRST}" in there), None)
    if prefix is None:
        faults = of_tensors("unet", path.name, there, configs)
        return faults or Found(config, (path,), _as_they_are(config))
    found = {
        name: dataclasses.replace(origin, name=prefix + origin.name.removeprefix(UNET))
        for name, origin in origins("unet", config, there.keys()).items()
    }
    wanted = {origin.name: origin for origin in found.values()}
    faults = of_network(path.name, "unet", wanted, there)
    faults += of_types(path.name, {"unet": {there[name].dtype for name in wanted.keys() & there.keys()}})
    spare = [name for name in sorted(there.keys() - wanted.keys()) if not _of_another_network(name)]
    if spare and not faults:
        what = f"{path.name} holds {len(spare)} tensors that the UNet has not ({', '.join(spare[:3])})"
        faults = [Fault(what, f"No weight is passed over in silence. {ALLOWED}")]
    return faults or Found(config, (path,), found)


def _as_they_are(config: Mapping[str, Any]) -> dict[str, Origin]:
    return {name: Origin(name, shape) for name, shape in expected("unet", config).items()}


def _of_another_network(name: str) -> bool:
    return name.startswith(BESIDE) or name in UNREAD or bool(NOT_READ.match(name))


def _another_kind(name: str, there: Mapping[str, Tensor]) -> Fault | None:
    """The fault of a file that is something else than a UNet over time, told by its names."""
    if any("lora" in key.lower() for key in there):
        return Fault(f"{name} is an adapter (LoRA), by its names", f"Give it as model.lora={name}.")
    blocks = [key for key in there if "input_blocks." in key or "down_blocks." in key]
    if blocks and not any(".time_stack." in key or "temporal_" in key for key in there):
        attends = {key: size.shape[-1] for key, size in there.items() if key.endswith("attn2.to_k.weight")}
        kind = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
        which = kind.get(next(iter(attends.values()), 0), "a model of pictures")
        return Fault(f"{name} is a UNet of pictures ({which}): it has nothing over time", ALLOWED)
    if not blocks:
        whose = "a VAE" if any(key.startswith(("encoder.", "decoder.", VAE)) for key in there) else "no UNet"
        return Fault(f"{name} holds {whose} ({', '.join(sorted(there)[:3])})", ALLOWED)
    return None


def _no_safetensors(path: Path) -> Fault:
    if path.suffix in PICKLES:
        return _pickle(path)
    return Fault(f"{path.name} is no safetensors file", GGUF if path.suffix == ".gguf" else ALLOWED)


def _pickle(path: Path) -> Fault:
    cure = TO_SAFETENSORS.format(path=shlex.quote(str(path)), key=KEY)
    return Fault(f"{path.name} is a pickle, which is never read: it may run any code", cure)


def _instead(folder: Path) -> str:
    """What to do about a folder without a UNet, by what lies there."""
    names = sorted(path.name for path in folder.iterdir())
    if pickle := next((name for name in names if name.endswith(PICKLES) and "optimizer" not in name), None):
        return _pickle(folder / pickle).cure
    if any("lora" in name.lower() or name.startswith("adapter_") for name in names):
        return f"It holds an adapter (LoRA): give it as model.lora={folder}."
    files = [name for name in names if name.endswith(ENDS)]
    if files and "config.json" not in names:
        return f"A file with a whole UNet is given by its own path: {KEY}={folder / files[0]}."
    return ALLOWED
