"""Predictions on disk, one file each, by what matters to them; readable in milliseconds, without torch."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from svdsweep.config import PER_RUN, Job
from svdsweep.config.keys import canonical, digest
from svdsweep.memory.per_run import is_guided, steps_of
from svdsweep.models.locate import TINY
from svdsweep.predict.prediction import Prediction

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "torchao", "DeepCache")
"""What a prediction is made with: another version, another folder."""
PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = ("predict/*.py", "memory/*.py", "models/architectures.py", "models/load.py")
PER_RUN_HERE = (*PER_RUN, "offload_to_disk")


def folder() -> Path:
    """`svdsweep/predictions` in the user's cache: $XDG_CACHE_HOME, else ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "svdsweep" / "predictions"


def known(job: Job, where: Path | None = None) -> Prediction | None:
    """The prediction of a job if it was ever made with these versions, else None."""
    if job.memory.extra:
        return None  # a user's function may have changed
    path = _path(job, where)
    try:
        return Prediction.from_plain(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_peak_gib(job: Job) -> float | None:
    """The predicted peak of a job if it was ever made, for its row."""
    summary = known(job)
    return summary.peak_gib if summary else None


def keep(job: Job, summary: Prediction, where: Path | None = None) -> None:
    """Write a prediction; a folder that cannot be written to only costs time later."""
    if job.memory.extra:
        return
    path = _path(job, where)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as part:
            json.dump(summary.to_plain(), part, separators=(",", ":"))
        os.replace(part.name, path)


def front_key(job: Job) -> str:
    """Key of all that matters up to the decode; jobs with equal ones are simulated together."""
    return digest(_front(job))


def chunk_of(job: Job) -> int:
    """Frames a decode; `auto` follows the free memory, so what must fit is one frame."""
    return 1 if job.decode_chunk_size == "auto" else job.frames_per_decode


@cache
def versions() -> str:
    """Changes with any library or source that a prediction depends on."""
    found = [f"{name} {_version(name)}" for name in LIBRARIES]
    sources = sorted(path for pattern in SOURCES for path in PACKAGE.glob(pattern))
    sources += sorted(TINY.glob("*/config.json"))
    state = hashlib.sha256("\n".join(found).encode())
    for path in sources:
        state.update(path.read_bytes())
    return state.hexdigest()[:12]


def _front(job: Job) -> dict[str, Any]:
    memory = {k: v for k, v in canonical(job.memory).items() if k not in PER_RUN_HERE}
    return {
        "architecture": job.model.architecture,
        "dtype": job.model.dtype,
        "num_frames": job.num_frames,
        "height": job.height,
        "width": job.width,
        "steps": steps_of(job),
        "guided": is_guided(job),
        "memory": memory,
    }


def _path(job: Job, where: Path | None) -> Path:
    return (where or folder()) / versions() / f"{digest(_front(job) | {'chunk': chunk_of(job)})}.json"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
