"""Hashes that tell one state of a folder or file from another without reading all of it."""

import hashlib
from pathlib import Path

EDGE, LOOKS = 64 * 1024, 64
"""Bytes that are read at once for a fingerprint, and how often in a single file."""


def of(place: Path) -> str:
    """The fingerprint of a folder or a file. Raises OSError."""
    return of_file(place) if place.is_file() else of_folder(place)


def of_folder(folder: Path) -> str:
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


def of_file(path: Path) -> str:
    """A hash of a single file's size and of 64 KiB at 64 even distances, so that each of its networks is looked into;
    to read 10 GB would take half a minute."""
    size = path.stat().st_size
    state = hashlib.sha256(f"{size}\n".encode())
    with path.open("rb") as f:
        for place in range(LOOKS):
            f.seek(max(size - EDGE, 0) * place // (LOOKS - 1))
            state.update(f.read(EDGE))
    return state.hexdigest()[:16]
