"""Files that are whole or not there."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from svdsweep.errors import UserError
from svdsweep.platforms import host, system


@contextmanager
def renamed_when_done(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{_mark()}{os.getpid()}-{path.name}")
    part.unlink(missing_ok=True)  # a link of that name would be written through
    try:
        yield part
        system.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Remove what dead processes of this machine were writing in a folder, or in one in it, under a temporary name.

    Those of other machines that share it are left alone: a number says nothing of a process elsewhere."""
    from svdsweep.store.processes import is_alive

    with contextlib.suppress(OSError):
        for place in (folder, *(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())):
            for part in place.glob(f"{_mark()}*-*"):
                pid = part.name.removeprefix(_mark()).partition("-")[0]
                if pid.isdecimal() and not is_alive(int(pid)):
                    part.unlink(missing_ok=True)


@cache
def _mark() -> str:
    """How the names of temporary files of this machine begin; the process's number follows."""
    return f".{hashlib.sha256(host.identity().encode()).hexdigest()[:8]}-"


def absolute(path: str | Path) -> str:
    """A path from the root, `~` expanded, links as they are."""
    return os.path.abspath(os.path.expanduser(path))


def there(path: str) -> bool:
    """Whether there is a file or folder of that name, `~` expanded; one that no file can have is none."""
    return os.path.exists(absolute(path))


def write_asked(path: Path, text: str) -> None:
    """Write a file that the user asked for. Raises UserError where it cannot be written."""
    try:
        with renamed_when_done(path) as part:
            part.write_text(
                text, encoding="utf-8", errors="replace", newline="\n"
            )  # names of files may be no UTF-8
    except OSError as e:
        raise UserError(f"{path} cannot be written ({e.strerror}).") from e
