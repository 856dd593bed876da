"""Where a model's weights lie, and exactly which ones; without torch, so that a refusal comes at once."""

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path

from svdsweep.config import Model
from svdsweep.errors import UserError

TINY = Path(__file__).resolve().parent / "tiny" / "weights"
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
"""Stem of each component's weight file in diffusers' layout."""
PIPELINE = "StableVideoDiffusionPipeline"
ANSWER_TIMEOUT_S = 3.0


@cache
def resolve(model: Model) -> Model:
    """The model with its revision pinned: a commit of the hub, or a fingerprint of the files of a folder.

    Touches the network only for hub weights that are not in the cache, and downloads none.
    Raises UserError with what to do when the weights are not to be had."""
    if model.weights == "random":
        return dataclasses.replace(model, source="", revision=None, variant=None)
    if folder := _folder(model):
        _check_folder(folder, model)
        return dataclasses.replace(model, revision=_fingerprint(folder))
    return dataclasses.replace(model, revision=_cached_commit(model) or _commit_on_hub(model))


def folder_of(model: Model) -> Path:
    """The folder in diffusers' layout of a resolved model. Raises UserError when it is not on this machine."""
    if folder := _folder(model) or _cached_folder(model):
        return folder
    raise UserError(_not_here(model, "they are not in the hub's cache"))


def fetch(model: Model) -> None:
    """Download a resolved hub model into the hub's cache, unless it is there. Raises UserError."""
    if model.weights == "random" or _folder(model) or _cached_commit(model):
        return
    from huggingface_hub import snapshot_download

    dot = f".{model.variant}" if model.variant else ""
    wanted = ["*.json", *(f"{part}/{stem}{dot}.safetensors*" for part, stem in WEIGHTS.items())]
    try:
        snapshot_download(model.source, revision=model.revision, allow_patterns=wanted)
    except Exception as e:
        raise UserError(_not_here(model, f"the download failed ({type(e).__name__}: {e})")) from e


def _folder(model: Model) -> Path | None:
    if model.source == "embedded":
        return TINY
    path = Path(model.source).expanduser()
    if path.is_dir():
        return path.resolve()
    if model.source.count("/") != 1 or model.source.startswith((".", "/", "~")):
        raise UserError(
            f"model.source={model.source}: there is no such folder, and a hub id has the form "
            "organisation/name. Allowed is `embedded`, a folder in diffusers' layout, or a hub id."
        )
    return None


def _check_folder(folder: Path, model: Model) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise UserError(f"model.source={folder}: no model_index.json there, so it is no diffusers pipeline.")
    try:
        kind = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
    except ValueError as e:
        raise UserError(f"model.source={folder}: its model_index.json cannot be read ({e}).") from e
    if kind != PIPELINE:
        raise UserError(f"model.source={folder} holds a {kind}; svdsweep runs a {PIPELINE}.")
    if missing := _missing(folder, model):
        others = sorted(str(p.relative_to(folder)) for p in folder.glob("*/*model*") if p.suffix != ".json")
        raise UserError(
            f"model.source={folder}: {missing} is missing (there is: {', '.join(others) or 'no weight file'}). "
            "Only safetensors are read, never a pickle; model.variant=fp16 asks for *.fp16.safetensors, "
            "model.variant=null for the plain names."
        )


def _missing(folder: Path, model: Model) -> str | None:
    """The first weight file that a pipeline folder lacks; a sharded one counts by its index."""
    dot = f".{model.variant}" if model.variant else ""
    for part, stem in WEIGHTS.items():
        names = (
            f"{stem}{dot}.safetensors",
            f"{stem}.safetensors.index{dot}.json",
            f"{stem}.safetensors.index.json",
        )
        if not any((folder / part / name).is_file() for name in names):
            return f"{part}/{names[0]}"
    return None


def _fingerprint(folder: Path) -> str:
    """A hash of every file's name, size, first and last 64 KiB: cheap, and any retraining or conversion changes it."""
    edge = 64 * 1024
    state = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors") and p.is_file()):
        size = path.stat().st_size
        state.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as f:
            state.update(f.read(edge))
            if size > edge:
                f.seek(-min(edge, size - edge), 2)
                state.update(f.read(edge))
    return state.hexdigest()[:16]


def _cached_folder(model: Model) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(model.source, "model_index.json", revision=model.revision)
    return Path(index).parent if isinstance(index, str) else None


def _cached_commit(model: Model) -> str | None:
    folder = _cached_folder(model)
    return folder.name if folder and not _missing(folder, model) else None


def _commit_on_hub(model: Model) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    url = hf_hub_url(model.source, "model_index.json", revision=model.revision)
    try:
        commit = get_hf_file_metadata(url, timeout=ANSWER_TIMEOUT_S).commit_hash
    except GatedRepoError as e:
        raise UserError(_not_here(model, "the hub asks you to accept their licence first")) from e
    except RevisionNotFoundError as e:
        problem = f"model.revision={model.revision}: {model.source} has no such branch, tag or commit."
        raise UserError(problem) from e
    except RepositoryNotFoundError as e:
        problem = f"model.source={model.source}: the hub knows no such model, or hides it from you."
        raise UserError(problem) from e
    except Exception as e:  # the hub's client raises its own and its transport's errors
        raise UserError(_not_here(model, f"the hub cannot be reached ({type(e).__name__})")) from e
    if commit is None:
        raise UserError(_not_here(model, "the hub named no commit"))
    return commit


def _not_here(model: Model, why: str) -> str:
    return (
        f"model={model.name}: the weights of {model.source} are not on this machine, and {why}. Accept the "
        f"licence on the model's page, then run `hf auth login` and `hf download {model.source}` where there is "
        "a network (the cache folder can be copied), or point model.source at a folder in diffusers' layout. "
        "Without any weights, `model.weights=random` measures true VRAM and latency (the pictures mean "
        "nothing), and `model=tiny` runs anywhere."
    )
