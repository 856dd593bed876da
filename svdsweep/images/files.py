"""Which files a value of `image=` means: one picture, those of a folder or those that a glob names."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from svdsweep.errors import UserError, some
from svdsweep.images.reading import Unreadable, endings, look
from svdsweep.store.files import absolute, there

PACKAGED = Path(__file__).resolve().parent
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""The usual endings; a folder's pictures have any of `endings()`."""
TOLD = 5
"""So many of the files that were left out are told by name."""


@dataclass(frozen=True)
class Listing:
    """The pictures that a folder or a glob names, sorted, and why each of the other files is left out."""

    pictures: list[Path]
    left_out: dict[str, str]
    """A reason by the file's name."""


def locate(path: str) -> Path:
    """The file of an image: as given, else of that name among the packaged ones. Raises UserError."""
    for candidate in (absolute(path), str(PACKAGED / path)):
        if os.path.isfile(candidate):
            return Path(candidate)
    if os.path.islink(link := absolute(path)):
        raise UserError(f"image={path}: this is a link to {os.readlink(link)}, and there is no such file.")
    raise UserError(
        f"image={path}: there is no such file. Give a picture ({', '.join(SUFFIXES)}), "
        "a folder or a glob of them."
    )


def is_file_name(value: str) -> bool:
    """Whether a value of `image=` means files rather than a preset's name."""
    return any(c in value for c in "./*?\\") or there(value)


def expand(value: str) -> list[str]:
    """The values of `image=` that one typed value stands for: a preset's name, a file, or all that a folder holds."""
    return [str(path) for path in files_of(value)] if is_file_name(value) else [value]


def files_of(pattern: str) -> list[Path]:
    """The pictures that a path, a folder or a glob names, sorted. Raises UserError when there are none."""
    found = _listing(pattern)
    if found is None:
        return [locate(pattern)]
    if not found.pictures:
        why = f" Left out: {_told(found.left_out)}." if found.left_out else ""
        raise UserError(
            f"image={pattern}: no pictures there. Files ending in {', '.join(SUFFIXES)} or another ending that Pillow "
            f"opens count; those of folders inside are a glob, image='FOLDER/*/*'.{why}"
        )
    return found.pictures


def left_out(value: str) -> str | None:
    """A sentence about the files that a folder or glob holds beside its pictures; None where there are none."""
    found = _listing(value) if is_file_name(value) else None
    if not found or not found.left_out:
        return None
    return f"image={value}: {len(found.left_out)} left out, no pictures that can be used: {_told(found.left_out)}."


def _listing(pattern: str) -> Listing | None:
    """What a folder or a glob holds; None for a single file, whose name may look like a glob."""
    path = Path(absolute(pattern))
    if os.path.isfile(path):
        return None
    if os.path.isdir(path):
        return _sorted_out(path.iterdir(), path)
    if any(c in pattern for c in "*?["):
        root = next(folder for folder in path.parents if folder.is_dir())  # its name may look like a glob too
        return _sorted_out((p for p in root.glob(str(path.relative_to(root))) if not p.is_dir()), root)
    return None


def _sorted_out(paths: Iterable[Path], root: Path) -> Listing:
    """The pictures among some files below `root`, and why the others are none."""
    found = Listing([], {})
    for path in sorted(paths):
        name = path.relative_to(root)
        if reason := _why_no_picture(path, any(part.startswith(".") for part in name.parts)):
            found.left_out[str(name)] = reason
        else:
            found.pictures.append(path)
    return found


def _why_no_picture(path: Path, hidden: bool) -> str:
    """The reason why a file of a folder is left out; empty for a picture."""
    if hidden:
        return "hidden"
    if path.is_dir():
        return "a folder"
    if not path.is_file():
        return "a link to nothing" if path.is_symlink() else "no file"
    if path.suffix.lower() not in endings():
        return f"Pillow opens no {path.suffix}" if path.suffix else "no ending"
    try:
        look(path)
    except Unreadable as e:
        return e.reason.rstrip(".")
    return ""


def _told(reasons: dict[str, str]) -> str:
    """The first of what was left out with their reasons, and how many more there are."""
    return some([f"{name} ({reason})" for name, reason in reasons.items()], TOLD)
