"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from svdsweep.errors import UserError


@contextmanager
def renamed_when_done(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}-{path.name}")
    part.unlink(missing_ok=True)  # a link of that name would be written through
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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
            part.write_text(text, encoding="utf-8", errors="replace")  # names of files may be no UTF-8
    except OSError as e:
        raise UserError(f"{path} cannot be written ({e.strerror}).") from e
