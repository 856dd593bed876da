"""Another UNet in the place of a model's own: found, and judged by its headers; without torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svdsweep.config import Model
from svdsweep.config.parts import OWN
from svdsweep.models import pieces
from svdsweep.models.architectures import architecture
from svdsweep.models.contents import (
    UNREAD,
    as_first,
    of_class,
    of_numbers,
    of_tensors,
    read_config,
    read_weights,
    shard_files,
)
from svdsweep.models.headers import Tensor
from svdsweep.models.layout import CONFIGS, PICKLES, WEIGHTS, Fault, variants, weights_of
from svdsweep.models.original import NOT_READ, UNET, VAE, Origin, origins
from svdsweep.models.pieces import Piece, Wrong, no_safetensors, sound, without
from svdsweep.models.single import ENDS, of_network, of_types
from svdsweep.models.tensors import expected

KEY = "model.unet"
WEIGHTS_OF_ONE = "diffusion_pytorch_model*.safetensors*"
FILES = ("config.json", "unet/config.json", WEIGHTS_OF_ONE, f"unet/{WEIGHTS_OF_ONE}")
"""What is fetched of a repository."""
ALLOWED = (
    "Allowed is a folder in diffusers' layout (config.json and diffusion_pytorch_model.safetensors, alone or in "
    "unet/, as trainers write into checkpoint-1000), or a safetensors file of a whole UNet."
)
ORIGINAL = (UNET, "diffusion_model.", "")
"""What stands before the original's names: in a checkpoint, in a UNet that ComfyUI saved, in one saved by itself."""
FIRST = "input_blocks.0.0.weight"
BESIDE = (VAE, "conditioner.")
"""The other networks of a checkpoint, of which the UNet alone is read."""
OF_PICTURES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""What a UNet of pictures belongs to, by the width of what it attends to."""
Configs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Found:
    """A whole UNet: what it is made of."""

    config: Mapping[str, Any]
    files: tuple[Path, ...]
    origins: Mapping[str, Origin]
    """Where each tensor lies, by its name in diffusers."""


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
    if place.is_file():
        return pieces.judged(piece, place, lambda: _of_file(place, configs["unet"]))
    return pieces.judged(piece, place, lambda: _of_folder(place, variant, configs))


def _of_folder(place: Path, variant: str | None, configs: Configs) -> Found:
    """The UNet of a folder that has it, or that has one in unet/ or unet_ema/. Raises Wrong and OSError."""
    folders = (place, place / "unet", place / "unet_ema")
    folder = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    if not folder:
        raise Wrong(Fault(f"there is no config.json in {place}", _instead(place)))
    config = sound(read_config(folder, "config.json"))
    without(of_class("unet", config) or of_numbers({**configs, "unet": config}))
    names = {f"unet/{path.name}" for path in folder.iterdir() if path.is_file()}
    kinds = dict.fromkeys((variant, None, *sorted(filter(None, variants(names, "unet")))))
    read = next((weights for kind in kinds if (weights := weights_of(names, "unet", kind))), None)
    if not read:
        raise Wrong(Fault(f"there are no weights in {folder}", _instead(folder)))
    name = f"{folder.name}/{Path(read.name).name}"
    without(of_tensors("unet", name, sound(read_weights(folder.parent, name)), {"unet": config}))
    return Found(config, shard_files(folder.parent, name), _as_they_are(config))


def _of_file(path: Path, config: Mapping[str, Any]) -> Found:
    """The UNet of a single file, under diffusers' names or Stability's, of the sizes that the model's own has. Raises
    Wrong and OSError."""
    if path.suffix not in ENDS:
        raise Wrong(no_safetensors(KEY, path, ALLOWED))
    there = sound(read_weights(path.parent, path.name))
    without(_another_kind(path, there))
    prefix = next((prefix for prefix in ORIGINAL if f"{prefix}{FIRST}" in there), None)
    if prefix is None:
        without(of_tensors("unet", path.name, there, {"unet": config}))
        return Found(config, (path,), _as_they_are(config))
    found = {
        name: dataclasses.replace(origin, name=prefix + origin.name.removeprefix(UNET))
        for name, origin in origins("unet", config, there.keys()).items()
    }
    wanted = {origin.name: origin for origin in found.values()}
    without(of_network(path.name, "unet", wanted, there))
    without(of_types(path.name, {"unet": {there[name].dtype for name in wanted}}))
    if spare := [name for name in sorted(there.keys() - wanted.keys()) if not _of_another_network(name)]:
        what = f"{path.name} holds {len(spare)} tensors that the UNet has not ({as_first(spare)})"
        raise Wrong(Fault(what, f"No weight is passed over in silence. {ALLOWED}"))
    return Found(config, (path,), found)


def _as_they_are(config: Mapping[str, Any]) -> dict[str, Origin]:
    return {name: Origin(name, shape) for name, shape in expected("unet", config).items()}


def _of_another_network(name: str) -> bool:
    return name.startswith(BESIDE) or name in UNREAD or bool(NOT_READ.match(name))


def _another_kind(path: Path, there: Mapping[str, Tensor]) -> list[Fault]:
    """The fault of a file that is something else than a UNet over time, told by its names."""
    if any("lora" in key.lower() for key in there):
        return [Fault(f"{path.name} is an adapter (LoRA), by its names", f"Give it as model.lora={path}.")]
    blocks = any("input_blocks." in key or "down_blocks." in key for key in there)
    if not blocks or any(key.startswith(("encoder.", "decoder.")) for key in there):
        return [Fault(f"{path.name} holds no UNet ({as_first(there)})", ALLOWED)]
    if any(".time_stack." in key or "temporal_" in key for key in there):
        return []
    widths = (tensor.shape[-1] for key, tensor in there.items() if key.endswith("attn2.to_k.weight"))
    what = (
        f"{path.name} is the UNet of a model of pictures ({OF_PICTURES.get(next(widths, 0), 'of some kind')})"
    )
    return [Fault(f"{what}: it has nothing over time", ALLOWED)]


def _instead(folder: Path) -> str:
    """What to do about a folder without a UNet, by what lies there."""
    names = sorted(path.name for path in folder.iterdir())
    if pickle := next((name for name in names if name.endswith(PICKLES) and "optimizer" not in name), None):
        return no_safetensors(KEY, folder / pickle, ALLOWED).cure
    if any("lora" in name.lower() or name.startswith("adapter_") for name in names):
        return f"It holds an adapter (LoRA): give it as model.lora={folder}."
    if files := [name for name in names if name.endswith(ENDS)]:
        return f"A file with a whole UNet is given by its own path: {KEY}={folder / files[0]}."
    return ALLOWED
