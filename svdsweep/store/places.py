"""Which files of a sweep's folder are opened: plain ones in known places.

The folder may be a stranger's, so links, pipes and devices in it are passed by, and what a row names counts only where
it lies in the sweep."""

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

from svdsweep.errors import UserError

ENDINGS = {
    "rows": ".jsonl",
    "logs": ".log",
    "videos": ".mp4",
    "sheets": ".png",
    "baselines": ".npz",
    "baselines/waiting": ".npz",
    "previews": ".png",
}
"""The places of a sweep that are read, and how the names of their files end."""
OF_JOBS = ("videos", "sheets", "baselines", "baselines/waiting")
"""The places with files of single jobs, each named after its job's key."""
PREVIEWS = "previews"
"""Where the pictures of jobs under way lie, each named after its job's key."""
WRITTEN = (*ENDINGS, "claims", "slurm", "plots", "differences")
"""All sub-folders of a sweep."""
NAME = re.compile(r"\w[\w.+-]*", re.ASCII)
LARGEST_BYTES = 64 * 2**20
"""Of a file that is read as a whole; the manifest of a hundred thousand jobs has 2 MB."""


def is_plain(path: Path) -> bool:
    """Whether there is a regular file of that very name: no link, pipe, device or folder."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return False


def files_in(folder: Path, place: str) -> list[Path]:
    """The plain files of a place of `ENDINGS` in a sweep's folder, sorted by name."""
    return [folder / place / name for name in names_in(folder, place)]


def names_in(folder: Path, place: str) -> list[str]:
    """The names of `files_in`, sorted; for who asks often, and seldom opens one."""
    return sorted(name for name, plain in _entries(folder, place) if plain)


def file_of(folder: Path, place: str, key: str) -> Path | None:
    """The plain file of a job in a place of `OF_JOBS`; None where there is none."""
    path = folder / place / f"{key}{ENDINGS[place]}"
    return path if is_plain(path) and not _link_on(folder, place) else None


def preview_of(folder: Path, key: str) -> Path:
    """Where the picture of a running job is, if there is one."""
    return folder / PREVIEWS / f"{key}{ENDINGS[PREVIEWS]}"


def previews(folder: Path) -> dict[str, Path]:
    """The pictures of running jobs by key."""
    return {path.stem: path for path in files_in(folder, PREVIEWS) if NAME.fullmatch(path.stem)}


def may_be_named(name: object, strange: Collection[str]) -> bool:
    """Whether a row may name a file of its sweep: by a relative path, of a place of `OF_JOBS` and a plain name with its
    ending, and nothing that is among the `strange` ones. It may be missing."""
    if not isinstance(name, str) or name in strange:
        return False
    place, _, file = name.rpartition("/")
    known = place in OF_JOBS and place not in strange and file.endswith(ENDINGS[place])
    return known and NAME.fullmatch(file) is not None


def read_plain(path: Path) -> bytes:
    """The content of a plain file. Raises OSError for anything else, and for one above `LARGEST_BYTES`."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no plain file")
    if status.st_size > LARGEST_BYTES:
        raise OSError(f"{path} has more than {LARGEST_BYTES >> 20} MiB")
    return path.read_bytes()


def strange(folder: Path) -> list[str]:
    """The links, pipes and devices where a sweep's folder should hold plain files and folders, by their names in it."""
    found = [place for place in ENDINGS if _link_on(folder, place)]
    for place in ENDINGS:
        found += sorted(f"{place}/{name}" for name, plain in _entries(folder, place) if not plain)
    return found


def _entries(folder: Path, place: str) -> list[tuple[str, bool]]:
    """The names in a place with its ending, and whether each is a plain file; none of a place that is a link."""
    if _link_on(folder, place):
        return []
    try:
        with os.scandir(folder / place) as entries:
            own = [entry for entry in entries if entry.name.endswith(ENDINGS[place])]
            return [(entry.name, entry.is_file(follow_symlinks=False)) for entry in own]
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that no file can have
        return []


def refuse_links(folder: Path, *files: str) -> None:
    """Raise UserError where a sub-folder of a sweep, or one of some `files` in it, is a link: what is written there
    would land elsewhere."""
    for place in (*WRITTEN, *files):
        if (link := folder / place).is_symlink():
            raise UserError(
                f"{link} is a link. A sweep's folder may come from anywhere, so nothing is read or written through the "
                "links in it: put what it leads to in its place, or keep the whole sweep there (runs_dir=FOLDER)."
            )


def _link_on(folder: Path, place: str) -> bool:
    """Whether a place of a sweep is, or lies behind, a link."""
    parts = place.split("/")
    return any(os.path.islink(os.path.join(folder, *parts[:count])) for count in range(1, len(parts) + 1))
