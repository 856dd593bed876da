"""What is wrong inside the files of a pipeline's folder: its index, its configs, the tensors of its networks."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from svdsweep.errors import some
from svdsweep.models.headers import POINTER, Damaged, Tensor, tensors
from svdsweep.models.layout import BASE, CONFIGS, FROM_BASE, GO_ON, HALF, INDEX, WEIGHTS, Fault
from svdsweep.models.tensors import expected, sizes

PIPELINE = "StableVideoDiffusionPipeline"
CLASSES = {
    "unet": "UNetSpatioTemporalConditionModel",
    "vae": "AutoencoderKLTemporalDecoder",
    "image_encoder": "CLIPVisionModelWithProjection",
    "scheduler": "EulerDiscreteScheduler",
    "feature_extractor": "CLIPImageProcessor",
}
SCHEDULE = {"prediction_type": ("v_prediction", "epsilon"), "timestep_type": ("continuous", "discrete")}
"""What SVD's networks were trained for, and what the scheduler's class takes where its file is silent."""
STORED = ("F16", "BF16", "F32", "F64")
"""Types of weights that are read, in safetensors' words."""
UNREAD = {"vision_model.embeddings.position_ids"}
"""Tensors of older files that no network has any more."""
NAMES_TOLD = 3
AGAIN = "Copy or download it again, whole and as safetensors."
FETCH_AGAIN = "`hf download {hub} --force-download` fetches it again."
PULL = "Run `git lfs install` and `git lfs pull` in that folder, or download the model with `hf download`."
SAVE_WHOLE = (
    "Weights that a file lacks would be drawn at random, and those without a place left out: save the whole network "
    "again with `save_pretrained`, or take the component's folder, config and weights, from the base model."
)
OTHER_MODEL = f"svdsweep runs {PIPELINE} alone: take the component's folder from the base model ({BASE})."
PLAIN_TYPES = (
    "Weights are read in float16, bfloat16 or float32, as the base model has them; smaller ones are made of these "
    "as they are loaded (memory.unet_weights=fp8, int8_weight_only)."
)


def read_config(folder: Path, name: str) -> dict[str, Any] | Fault:
    """A JSON file of the folder, or why it is none. Raises OSError."""
    path = folder / name
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        what = "is empty" if path.stat().st_size == 0 else "cannot be read as JSON"
        return Fault(f"{name} {what}", AGAIN, FETCH_AGAIN)
    return config if isinstance(config, dict) else Fault(f"{name} holds no settings", AGAIN, FETCH_AGAIN)


def of_index(folder: Path) -> list[Fault]:
    """Whether model_index.json names SVD's pipeline with its five components. Raises OSError."""
    index = read_config(folder, INDEX)
    if isinstance(index, Fault):
        return [index]
    named = {part: _class_in(index.get(part)) for part in CLASSES}
    if (kind := index.get("_class_name")) != PIPELINE:
        return [_other_pipeline(kind, index, named)]
    faults = []
    for part, own in named.items():
        if own is None:
            faults.append(Fault(f"{INDEX} names no {part}", FROM_BASE))
        elif own != CLASSES[part] and not (part == "feature_extractor" and own.startswith("CLIP")):
            faults.append(
                Fault(f"{INDEX} names a {own} as {part}, where SVD has a {CLASSES[part]}", OTHER_MODEL)
            )
    return faults


def of_class(part: str, config: Mapping[str, Any]) -> list[Fault]:
    """Whether a component's config is that of SVD's class, and a scheduler's that of SVD's schedule."""
    name, kind = CONFIGS[part], config.get("_class_name", CLASSES[part])
    if part != "feature_extractor" and kind != CLASSES[part]:
        return [Fault(f"{name} is that of a {kind}, where SVD has a {CLASSES[part]}", OTHER_MODEL)]
    if part != "scheduler":
        return []
    settings = [(key, config.get(key, default), wanted) for key, (wanted, default) in SCHEDULE.items()]
    wrong = [f"{key}={value}, not {wanted}" for key, value, wanted in settings if value != wanted]
    return [Fault(f"{name} has {' and '.join(wrong)}: it is another model's", OTHER_MODEL)] if wrong else []


def of_numbers(configs: Mapping[str, Mapping[str, Any]]) -> list[Fault]:
    """Whether the three networks' configs make sense, and go together as a pipeline needs them to."""
    found: dict[str, dict[str, Any]] = {}
    for part in WEIGHTS:
        try:
            found[part] = sizes(part, configs[part])
            expected(part, configs[part])
        except ValueError as e:
            return [Fault(f"{CONFIGS[part]}: {e}", OTHER_MODEL)]
    unet, vae, encoder = found.values()
    latent, width, ids = vae["latent_channels"], encoder["projection_dim"], unet["addition_time_embed_dim"]
    crossing = unet["cross_attention_dim"]
    needed = {
        "in_channels": (
            unet["in_channels"],
            2 * latent,
            f"noise and picture, {latent} channels of the VAE each",
        ),
        "out_channels": (unet["out_channels"], latent, "the channels of the VAE"),
        "cross_attention_dim": (
            crossing if isinstance(crossing, int) else crossing[0],
            width,
            "the image encoder's projection_dim",
        ),
        "projection_class_embeddings_input_dim": (
            unet["projection_class_embeddings_input_dim"],
            3 * ids,
            "frame rate, motion bucket and augmentation",
        ),
    }
    return [
        Fault(f"unet/config.json has {key}={value}, where {wanted} go in or out ({why})", OTHER_MODEL)
        for key, (value, wanted, why) in needed.items()
        if value != wanted
    ]


def read_weights(folder: Path, name: str) -> dict[str, Tensor] | Fault:
    """The tensors of a weight file, or of all shards that an index names; or what is wrong. Raises OSError."""
    if not name.endswith(".json"):
        return _read_file(folder, name)
    shards = _shards(folder, name)
    if isinstance(shards, Fault):
        return shards
    there: dict[str, Tensor] = {}
    owners: dict[str, str] = {}
    for shard in sorted(set(shards.values())):
        read = _read_file(folder, f"{name.rpartition('/')[0]}/{shard}")
        if isinstance(read, Fault):
            return read
        there |= read
        owners |= dict.fromkeys(read, shard)
    if strayed := [key for key in {**shards, **owners} if owners.get(key) != shards.get(key)]:
        what = (
            f"{name} and its shards disagree on {len(strayed)} of {len(shards)} tensors ({as_first(strayed)})"
        )
        return Fault(
            what, "Copy or download the index and its shards again, all from one place.", FETCH_AGAIN
        )
    return there


def of_tensors(part: str, name: str, there: Mapping[str, Tensor], configs: Mapping[str, Any]) -> list[Fault]:
    """Whether a network's tensors are those that its config asks for: each one, of that shape, and no others."""
    wanted = expected(part, configs[part])
    own = there.keys() & wanted.keys()
    if not own:
        return [_another_network(part, name, there, configs)]
    lacking = wanted.keys() - own
    spare = there.keys() - own - UNREAD
    strange = {there[key].dtype for key in own}.difference(STORED)
    asked = f"that {CONFIGS[part]} asks for"
    misshapen = next((key for key in sorted(own) if there[key].shape != wanted[key]), None)
    faults = []
    if lacking:
        what = f"{name} lacks {len(lacking)} of the {len(wanted)} tensors {asked} ({as_first(lacking)})"
        faults.append(Fault(what, SAVE_WHOLE, FETCH_AGAIN))
    if spare:
        what = f"{name} holds {len(spare)} tensors beside those {asked} ({as_first(spare)})"
        faults.append(Fault(what, SAVE_WHOLE, FETCH_AGAIN))
    if misshapen:
        shapes = (
            f"{as_shape(there[misshapen].shape)} where {CONFIGS[part]} asks for {as_shape(wanted[misshapen])}"
        )
        faults.append(Fault(f"{name} holds {misshapen} as {shapes}", SAVE_WHOLE, FETCH_AGAIN))
    if strange:
        faults.append(Fault(f"{name} stores weights as {', '.join(sorted(strange))}", PLAIN_TYPES))
    return faults


def _shards(folder: Path, name: str) -> dict[str, str] | Fault:
    """By tensor, the file beside the index that holds it; or what is wrong with the index. Raises OSError."""
    index = read_config(folder, name)
    if isinstance(index, Fault):
        return index
    shards = index.get("weight_map")
    if not (isinstance(shards, dict) and shards and isinstance(index.get("metadata"), dict)):
        return Fault(f"{name} is no index of shards", AGAIN, FETCH_AGAIN)
    if wrong := [shard for shard in map(str, shards.values()) if os.path.basename(shard) != shard]:
        return Fault(f"{name} names {wrong[0]}, which is no file beside it", AGAIN, FETCH_AGAIN)
    return {key: str(shard) for key, shard in shards.items()}


def shard_files(folder: Path, name: str) -> tuple[Path, ...]:
    """The files that `read_weights` found whole: the one of that name, or the shards of the index."""
    if not name.endswith(".json"):
        return (folder / name,)
    shards = json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"].values()
    return tuple((folder / name).parent / shard for shard in sorted(set(shards)))


def _class_in(entry: Any) -> str | None:
    """The class in an index's entry (`["diffusers", "UNet…"]`), with its library where that is another than usual."""
    if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry)):
        return None
    library, kind = entry
    return kind if library in ("diffusers", "transformers") else f"{library}.{kind}"


def _other_pipeline(kind: Any, index: Mapping[str, Any], named: Mapping[str, str | None]) -> Fault:
    """The fault of an index of another class; a fork of SVD with SVD's own components can be run without its own."""
    what = (
        f"{INDEX} names a {kind} as its class; svdsweep runs a {PIPELINE}"
        if kind
        else f"{INDEX} names no class"
    )
    if all(named[part] == CLASSES[part] for part in ("unet", "vae", "image_encoder")):
        beside = ", ".join(key for key in index if not key.startswith("_") and key not in CLASSES)
        without = f" without what the fork adds{f' ({beside})' if beside else ''}"
        cure = (
            f"Its networks are SVD's: to run them{without}, copy the folder and set `_class_name` in the copy's "
            f"{INDEX} to {PIPELINE}."
        )
        return Fault(what, cure)
    return Fault(what, f"Allowed are pipelines of that class, such as {BASE} and what was tuned from it.")


def _read_file(folder: Path, name: str) -> dict[str, Tensor] | Fault:
    path = folder / name
    try:
        if half := next((path.name + end for end in HALF if (folder / f"{name}{end}").is_file()), None):
            raise Damaged(f"is not whole yet ({half} lies beside it)")
        return tensors(path)
    except Damaged as e:
        return Fault(f"{name} {e}", PULL if str(e) == POINTER else AGAIN, FETCH_AGAIN)
    except FileNotFoundError:
        what = "is a broken link" if path.is_symlink() else "is missing, a shard that the index names"
        return Fault(f"{name} {what}", AGAIN, GO_ON, absent=True)


def _another_network(part: str, name: str, there: Mapping[str, Tensor], configs: Mapping[str, Any]) -> Fault:
    """The fault of a file that has none of a network's tensors: another network's, a wrapper's, an adapter."""
    own = expected(part, configs[part])
    for other in WEIGHTS:
        if other != part and len(there.keys() & expected(other, configs[other]).keys()) > len(there) // 2:
            return Fault(f"{name} holds the tensors of the {other}", SAVE_WHOLE, FETCH_AGAIN)
    last = next(reversed(own))
    if prefix := next((key.removesuffix(last) for key in there if key.endswith(f".{last}")), ""):
        what = f"every tensor's name in {name} begins with `{prefix}`, as a wrapped or compiled network saves them"
        return Fault(what, "Save the network itself: unwrap it, then `save_pretrained`.")
    adapter = " (an adapter's, by their names)" if any("lora" in key.lower() for key in there) else ""
    what = f"{name} holds {len(there)} tensors, none of which the {part} has ({as_first(there)}){adapter}"
    return Fault(what, SAVE_WHOLE, FETCH_AGAIN)


def as_first(names: Iterable[str]) -> str:
    """The first names of many, in order."""
    return some(sorted(names), NAMES_TOLD)


def as_shape(shape: tuple[int, ...]) -> str:
    """A shape as it is told: `3×64×64`."""
    return "×".join(map(str, shape))
