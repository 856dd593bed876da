"""Where a part of a model lies that is given by itself, another UNet or a LoRA: here, or on the hub. No torch."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from svdsweep.config import Model
from svdsweep.errors import UserError, nearest
from svdsweep.models import fingerprint
from svdsweep.models.hub import ANSWER_TIMEOUT_S, snapshot
from svdsweep.models.judge import cures, unreadable, whats
from svdsweep.models.layout import PICKLES, Fault
from svdsweep.models.mistaken import GGUF, TO_SAFETENSORS
from svdsweep.store.files import absolute

T = TypeVar("T")
ON_HUB = re.compile(r"([\w.-]+/[\w.-]+)(?::([^:\\]+))?", re.ASCII)


@dataclass(frozen=True)
class Piece:
    """A part as a setting names it."""

    key: str
    """The setting: `model.unet`."""
    text: str
    revision: str | None = None
    wanted: tuple[str, ...] = ("*.json", "*.safetensors")
    """Patterns of the files that are read of a repository, where no file of it is named."""

    @property
    def said(self) -> str:
        """The beginning of a sentence about it."""
        return f"{self.key}={self.text}"


class Wrong(Exception):
    """What is wrong with a part, on its way to the refusal."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = list(faults)


def sound(read: T | Fault) -> T:
    """What was read. Raises Wrong."""
    if isinstance(read, Fault):
        raise Wrong(read)
    return read


def without(faults: Sequence[Fault]) -> None:
    """Raises Wrong where there is any fault."""
    if faults:
        raise Wrong(*faults)


def judged(piece: Piece, place: Path, look: Callable[[], T]) -> T:
    """What a look at a part's place found. Raises UserError with what is wrong, in one paragraph."""
    try:
        return look()
    except Wrong as e:
        raise UserError(f"{piece.said}: {whats(e.faults)}. {cures(e.faults, str(place))}") from e
    except OSError as e:
        raise unreadable(place, e, piece.key) from e


def no_safetensors(key: str, path: Path, allowed: str) -> Fault:
    """The fault of a file that is not read, and what makes one of it that is."""
    if path.suffix in PICKLES:
        cure = TO_SAFETENSORS.format(path=shlex.quote(str(path)), key=key)
        return Fault(f"{path.name} is a pickle, which is never read: it may run any code", cure)
    return Fault(f"{path.name} is no safetensors file", GGUF if path.suffix == ".gguf" else allowed)


def locate(piece: Piece) -> Path | None:
    """The file or folder of a part; None for one on the hub that is not in its cache. Raises UserError for what is
    neither."""
    path = Path(piece.text).expanduser()
    try:
        if path.exists():
            return Path(absolute(path))
        if path.is_symlink():
            raise UserError(f"{piece.said}: that is a broken link.")
    except OSError as e:
        raise unreadable(piece.text, e, piece.key) from e
    if not (match := _on_hub(piece)):
        form = "a file or folder, a hub id (owner/name), or a file there (owner/name:file.safetensors)"
        raise UserError(f"{piece.said}: there is no such file or folder. Allowed is {form}.{_close_to(path)}")
    folder = snapshot(_repository(match[1], piece.revision))
    found = folder / (match[2] or "") if folder else None
    return found if found and found.exists() else None


def pinned(piece: Piece, place: Path | None) -> tuple[str, str]:
    """A part's text with its path from the root, and its revision: a commit of the hub, or a fingerprint of `place`.

    Touches the network only for what is not in the hub's cache. Raises UserError where another revision was asked for,
    or it is not to be had."""
    if _is_here(piece):
        assert place
        try:
            revision = fingerprint.of(place)
        except OSError as e:
            raise unreadable(place, e, piece.key) from e
        if piece.revision not in (None, revision):
            what = f"{piece.key}_revision={piece.revision}: what lies in {place} is revision {revision}"
            raise UserError(f"{what}; it has changed since. Without it, what is there runs.")
        return absolute(piece.text), revision
    match = _on_hub(piece)
    assert match
    folder = snapshot(_repository(match[1], piece.revision)) if place else None
    return piece.text, folder.name if folder else _commit(piece, match)


def fetch(piece: Piece) -> None:
    """Download a part of the hub that is not in its cache. Raises UserError."""
    match = None if locate(piece) else _on_hub(piece)
    if not match:
        return
    from huggingface_hub import snapshot_download

    try:
        wanted = [match[2]] if match[2] else list(piece.wanted)
        snapshot_download(match[1], revision=piece.revision, allow_patterns=wanted)
    except Exception as e:  # the hub's client raises its own and its transport's errors
        raise UserError(_not_here(piece, f"the download failed ({type(e).__name__}: {e})")) from e


def needed(piece: Piece) -> Path:
    """The file or folder of a part that was fetched. Raises UserError where it is not there."""
    if place := locate(piece):
        return place
    raise UserError(_not_here(piece, "it has not been fetched"))


def _close_to(path: Path) -> str:
    """` Did you mean x?` for what has nearly that name."""
    return nearest(str(path), map(str, path.parent.iterdir())) if path.parent.is_dir() else ""


def _is_here(piece: Piece) -> bool:
    return Path(piece.text).expanduser().exists()


def _on_hub(piece: Piece) -> re.Match[str] | None:
    return None if piece.text.startswith((".", "~")) else ON_HUB.fullmatch(piece.text)


def _repository(name: str, revision: str | None) -> Model:
    return Model(source=name, revision=revision)


def _commit(piece: Piece, match: re.Match[str]) -> str:
    """The commit that the hub has of a part, if the file is in it. Raises UserError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(match[1], revision=piece.revision, timeout=ANSWER_TIMEOUT_S)
    except GatedRepoError as e:
        raise UserError(_not_here(piece, "the hub asks you to accept their licence first")) from e
    except RevisionNotFoundError as e:
        raise UserError(f"{piece.said}: {match[1]} has no branch, tag or commit {piece.revision}.") from e
    except RepositoryNotFoundError as e:
        what = f"there is no such file or folder, and the hub knows no {match[1]}, or hides it from you"
        raise UserError(f"{piece.said}: {what}.") from e
    except Exception as e:
        raise UserError(_not_here(piece, f"the hub cannot be reached ({type(e).__name__})")) from e
    files = [file.rfilename for file in info.siblings or ()]
    if match[2] and match[2] not in files:
        there = ", ".join(name for name in files if name.endswith(".safetensors")) or "no safetensors file"
        raise UserError(f"{piece.said}: {match[1]} has no such file. There is: {there}.")
    if info.sha is None:
        raise UserError(_not_here(piece, "the hub named no commit"))
    return str(info.sha)


def how_to_fetch(piece: Piece) -> str:
    """The command that downloads a part of the hub into its cache."""
    match = _on_hub(piece)
    assert match
    revision = f" --revision {piece.revision}" if piece.revision else ""
    return f"hf download {match[1]}{f' {match[2]}' if match[2] else ''}{revision}"


def _not_here(piece: Piece, why: str) -> str:
    return (
        f"{piece.said}: it is not on this machine, and {why}. `{how_to_fetch(piece)}` fetches it where there is a "
        "network (the cache folder can be copied); a file or folder here is given by its path."
    )
