"""Where a model's weights lie, and exactly which ones; without torch, so that a refusal comes at once."""

import dataclasses
import hashlib
import re
from functools import cache
from pathlib import Path

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models import comfyui, mistaken
from svdsweep.models.architectures import TINY
from svdsweep.models.hub import cached_commit, commit_on_hub, download, for_download, not_here, snapshot
from svdsweep.models.judge import doubts, judge, look_at, unreadable
from svdsweep.models.layout import INDEX, Judged
from svdsweep.models.single import is_single
from svdsweep.store.files import absolute

EDGE, LOOKS = 64 * 1024, 64
"""Bytes that are read at once for a fingerprint, and how often in a single file."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
HUB_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/.*)?", re.ASCII)


@cache
def resolve(model: Model) -> Model:
    """The model with its revision pinned: a commit of the hub, or a fingerprint of a folder's files or a single one.

    Touches the network only for hub weights that are not in the cache, and downloads none.
    Raises UserError with what to do when the weights are not to be had, or are not whole."""
    if model.weights == "random":
        return dataclasses.replace(model, source="", revision=None, variant=None)
    if place := _local(model):
        judge(place, model)
        pinned = dataclasses.replace(model, revision=_checked_fingerprint(place, model))
        if place.is_file():
            return dataclasses.replace(pinned, source=str(place), variant=None)
        if model.source == "embedded":
            return pinned
        return dataclasses.replace(pinned, source=absolute(model.source))
    return dataclasses.replace(model, revision=cached_commit(model) or commit_on_hub(model))


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
    return () if not read or read.faults else tuple(doubts(model, read))


def fetch(model: Model) -> None:
    """Download a resolved hub model into the hub's cache, unless it is there, and judge it. Raises UserError."""
    if model.weights == "random" or _local(model) or cached_commit(model):
        return
    download(model)
    judged(model)


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
        revision = _of_file(place) if place.is_file() else _fingerprint(place)
    except OSError as e:
        raise unreadable(place, e) from e
    if model.source != "embedded" and model.revision not in (None, revision):
        what = f"model.revision={model.revision}: what lies in {place} is revision {revision}"
        why = "it has changed since, or a revision of the hub is meant, which it has not"
        raise UserError(f"{what}; {why}. Without model.revision, what is there runs.")
    return revision


def _fingerprint(folder: Path) -> str:
    """A hash of every file's name, size, first and last 64 KiB: cheap, and any retraining or conversion changes it."""
    state = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".safetensors") and p.is_file()):
        size = path.stat().st_size
        state.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as f:
            state.update(f.read(EDGE))
            if size > EDGE:
                f.seek(-min(EDGE, size - EDGE), 2)
                state.update(f.read(EDGE))
    return state.hexdigest()[:16]


def _of_file(path: Path) -> str:
    """A hash of a single file's size and of 64 KiB at 64 even distances, so that each of its networks is looked into;
    to read 10 GB would take half a minute."""
    size = path.stat().st_size
    state = hashlib.sha256(f"{size}\n".encode())
    with path.open("rb") as f:
        for place in range(LOOKS):
            f.seek(max(size - EDGE, 0) * place // (LOOKS - 1))
            state.update(f.read(EDGE))
    return state.hexdigest()[:16]
