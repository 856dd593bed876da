"""Where a model's weights lie, and exactly which ones; without torch, so that a refusal comes at once."""

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from svdsweep.config import Model
from svdsweep.config.adapters import NONE
from svdsweep.config.parts import OWN
from svdsweep.errors import UserError
from svdsweep.models import comfyui, fingerprint, lora, mistaken, pieces, sizes, unet
from svdsweep.models.architectures import TINY
from svdsweep.models.hub import cached_commit, commit_on_hub, download, for_download, not_here, snapshot
from svdsweep.models.judge import doubts, judge, look_at, unreadable
from svdsweep.models.layout import INDEX, Judged
from svdsweep.models.single import is_single
from svdsweep.store.files import absolute

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
HUB_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/.*)?", re.ASCII)


@cache
def resolve(model: Model) -> Model:
    """The model with its revision pinned: a commit of the hub, or a fingerprint of a folder's files or a single one.

    Touches the network only for hub weights that are not in the cache, and downloads none.
    Raises UserError with what to do when the weights are not to be had, or are not whole."""
    if model.weights == "random":
        return lora.pinned(
            dataclasses.replace(model, source="", revision=None, variant=None, unet=OWN, unet_revision=None),
            None,
        )
    if model != (plain := _as_source_has_it(model)):
        around = resolve(plain)
        other = dataclasses.replace(
            model, source=around.source, revision=around.revision, variant=around.variant
        )
        other = unet.pinned(other, configs_around(around))
        return lora.pinned(other, _unet_config(other, configs_around(around)))
    if place := _local(model):
        judge(place, model)
        pinned = dataclasses.replace(model, revision=_checked_fingerprint(place, model))
        if place.is_file():
            return dataclasses.replace(pinned, source=str(place), variant=None)
        if model.source == "embedded":
            return pinned
        return dataclasses.replace(pinned, source=absolute(model.source))
    return dataclasses.replace(model, revision=cached_commit(model) or commit_on_hub(model))


def _as_source_has_it(model: Model) -> Model:
    """The model without another UNet and LoRA."""
    return dataclasses.replace(
        model, unet=OWN, unet_revision=None, lora=NONE, lora_scale=1.0, lora_revision=None
    )


def configs_around(model: Model) -> unet.Configs | None:
    """The configs of the networks of a resolved model's source; None where that is yet to be fetched."""
    place = _local(model) or snapshot(model)
    return unet.configs_in(place, model) if place else None


def _unet_config(model: Model, configs: unet.Configs | None) -> Mapping[str, Any] | None:
    """The config of the UNet that runs; None where it is yet to be fetched."""
    if configs is None or model.unet == OWN:
        return configs and configs["unet"]
    return unet.found(model, configs).config if pieces.locate(unet.piece_of(model)) else None


def other_unet(model: Model) -> unet.Found | None:
    """The other UNet of a resolved model that was fetched, None for its own. Raises UserError."""
    if model.unet == OWN:
        return None
    return unet.found(model, configs_around(model) or unet.configs_of(model))


def adapters(model: Model) -> list[lora.Adapter]:
    """The LoRA of a resolved model that was fetched. Raises UserError."""
    configs = configs_around(model) or unet.configs_of(model)
    return lora.found(model, _unet_config(model, configs) or configs["unet"])


def folder_of(model: Model) -> Path:
    """The folder in diffusers' layout, or the single file, of a resolved model. Raises UserError when it is not on this
    machine."""
    if folder := _local(model) or snapshot(model):
        return folder
    raise UserError(not_here(model, "they are not in the hub's cache"))


def judged(model: Model) -> tuple[Path, Judged]:
    """The folder or single file of a model on this machine, found whole. Raises UserError with what to do."""
    folder = folder_of(model)
    return folder, judge(folder, model, "" if _local(model) else for_download(model))


@cache
def doubts_about(model: Model) -> tuple[str, ...]:
    """What is read of a resolved model but perhaps not as hoped; nothing of one that is yet to be fetched."""
    if model.weights == "random" or model.source == "embedded":
        return ()
    folder = _local(model) or snapshot(model)
    read = look_at(folder, model) if folder else None
    if not folder or not read or read.faults:
        return ()
    return (*doubts(model, read), *sizes.doubts(unet.configs_in(folder, model), model))


def fetch(model: Model) -> None:
    """Download what of a resolved model is on the hub and not in its cache, and judge it. Raises UserError."""
    if model.weights == "random":
        return
    if not (_local(model) or cached_commit(model)):
        download(model)
        judged(model)
    if model.unet != OWN:
        pieces.fetch(unet.piece_of(model))
        other_unet(model)
    lora.fetch(model)
    adapters(model)


def _local(model: Model) -> Path | None:
    """The local folder or single file that a model's source names, None for a hub id. Raises UserError for anything
    else."""
    if model.source == "embedded":
        return TINY
    said = f"model.source={model.source}"
    try:
        path = Path(comfyui.found(model.source)).expanduser()
        if path.is_dir() and (path / INDEX).is_file():
            return path.resolve()
        if path.is_dir():
            raise UserError(f"model.source={path.resolve()}: {mistaken.of_folder(path.resolve())}")
        if path.is_file():
            return _file(path, said)
        broken = path.is_symlink()
    except OSError as e:
        raise unreadable(model.source, e) from e
    except RuntimeError as e:  # no such user's home
        raise UserError(f"{said}: there is no such folder ({e}) {mistaken.ALLOWED}") from e
    if broken:
        raise UserError(f"{said}: that is a broken link. {mistaken.ALLOWED}")
    if HUB_ID.fullmatch(model.source) and not model.source.startswith("."):
        return None
    if page := HUB_PAGE.fullmatch(model.source):
        raise UserError(f"{said}: that is a page of the hub; give its id: model.source={page[1]}")
    raise UserError(
        f"{said}: there is no such folder, and a hub id has the form organisation/name. "
        f"{mistaken.ALLOWED}{mistaken.beside(path)}"
    )


def _file(path: Path, said: str) -> Path:
    """A single file that is read, from the root. Raises UserError with what any other is, and OSError."""
    if not is_single(path):
        raise UserError(f"{said}: {mistaken.of_file(path.resolve())}")
    return Path(absolute(path))


def _checked_fingerprint(place: Path, model: Model) -> str:
    """The fingerprint of a folder or file. Raises UserError where another was asked for, or a file cannot be read."""
    try:
        revision = fingerprint.of(place)
    except OSError as e:
        raise unreadable(place, e) from e
    if model.source != "embedded" and model.revision not in (None, revision):
        what = f"model.revision={model.revision}: what lies in {place} is revision {revision}"
        why = "it has changed since, or a revision of the hub is meant, which it has not"
        raise UserError(f"{what}; {why}. Without model.revision, what is there runs.")
    return revision
