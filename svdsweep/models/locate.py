"""Where a model's weights lie, and exactly which ones; without torch, so that a refusal comes at once."""

import dataclasses
import hashlib
import re
from functools import cache
from pathlib import Path

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models import mistaken
from svdsweep.models.hub import cached_commit, commit_on_hub, download, for_download, not_here, snapshot
from svdsweep.models.judge import Judged, doubts, judge, look, unreadable
from svdsweep.models.layout import INDEX
from svdsweep.store.files import absolute

TINY = Path(__file__).resolve().parent / "tiny" / "weights"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
HUB_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/.*)?", re.ASCII)


@cache
def resolve(model: Model) -> Model:
    """The model with its revision pinned: a commit of the hub, or a fingerprint of the files of a folder.

    Touches the network only for hub weights that are not in the cache, and downloads none.
    Raises UserError with what to do when the weights are not to be had, or are not whole."""
    if model.weights == "random":
        return dataclasses.replace(model, source="", revision=None, variant=None)
    if folder := _folder(model):
        judge(folder, model)
        source = model.source if model.source == "embedded" else absolute(model.source)
        return dataclasses.replace(model, source=source, revision=_checked_fingerprint(folder, model))
    return dataclasses.replace(model, revision=cached_commit(model) or commit_on_hub(model))


def folder_of(model: Model) -> Path:
    """The folder in diffusers' layout of a resolved model. Raises UserError when it is not on this machine."""
    if folder := _folder(model) or snapshot(model):
        return folder
    raise UserError(not_here(model, "they are not in the hub's cache"))


def judged(model: Model) -> tuple[Path, Judged]:
    """The folder of a model on this machine, found whole. Raises UserError with what to do."""
    folder = folder_of(model)
    return folder, judge(folder, model, "" if _folder(model) else for_download(model))


@cache
def doubts_about(model: Model) -> tuple[str, ...]:
    """What is read of a resolved model but perhaps not as hoped; nothing of one that is yet to be fetched."""
    if model.weights == "random" or model.source == "embedded":
        return ()
    folder = _folder(model) or snapshot(model)
    read = look(folder, model.variant) if folder else None
    return () if not read or read.faults else tuple(doubts(model, read))


def fetch(model: Model) -> None:
    """Download a resolved hub model into the hub's cache, unless it is there, and judge it. Raises UserError."""
    if model.weights == "random" or _folder(model) or cached_commit(model):
        return
    download(model)
    judged(model)


def _folder(model: Model) -> Path | None:
    """The local folder that a model's source names, None for a hub id. Raises UserError for anything else."""
    if model.source == "embedded":
        return TINY
    said = f"model.source={model.source}"
    try:
        path = Path(model.source).expanduser()
        if path.is_dir() and (path / INDEX).is_file():
            return path.resolve()
        if path.is_dir():
            raise UserError(f"model.source={path.resolve()}: {mistaken.of_folder(path.resolve())}")
        if path.is_file():
            raise UserError(f"{said}: {mistaken.of_file(path.resolve())}")
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


def _checked_fingerprint(folder: Path, model: Model) -> str:
    """The folder's fingerprint. Raises UserError where another was asked for, or a file cannot be read."""
    try:
        revision = _fingerprint(folder)
    except OSError as e:
        raise unreadable(folder, e) from e
    if model.source != "embedded" and model.revision not in (None, revision):
        what = f"model.revision={model.revision}: what lies in {folder} is revision {revision}"
        why = "it has changed since, or a revision of the hub is meant, which a folder has not"
        raise UserError(f"{what}; {why}. Without model.revision, what is there runs.")
    return revision


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
