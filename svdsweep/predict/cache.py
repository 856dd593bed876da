"""Predictions on disk, one file each, named by what decides them; readable in milliseconds, without torch."""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from svdsweep.config import PER_RUN, Job
from svdsweep.config.keys import canonical, digest
from svdsweep.config.version import version_of
from svdsweep.memory.per_run import is_guided, turns_of, unet_calls_of
from svdsweep.models.architectures import TINY
from svdsweep.predict.prediction import Prediction
from svdsweep.store.files import renamed_when_done

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "torchao", "DeepCache")
"""What a prediction is made with: another version, another folder."""
PACKAGE = Path(__file__).resolve().parent.parent
SIMULATOR = (
    "cost",
    "curve",
    "fake_gpu",
    "op_cache",
    "prediction",
    "repeats",
    "simulate",
    "tracker",
    "without_cuda",
)
BESIDE_IT = (
    *("backends/*.py", "memory/*.py", "models/architectures.py", "models/decoders/*.py", "models/load.py"),
    "predict/cache.py",
)
SOURCES = (*BESIDE_IT, *(f"predict/{module}.py" for module in SIMULATOR))
"""The modules that decide a prediction: a change in any of them makes another folder."""


def folder() -> Path:
    """`svdsweep/predictions` in the user's cache: $XDG_CACHE_HOME, else ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "svdsweep" / "predictions"


def known(job: Job) -> Prediction | None:
    """The prediction of a job if it was ever made with these versions, else None."""
    if job.memory.extra:
        return None  # a user's function may have changed
    try:
        return Prediction.from_plain(json.loads(_path(job).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def known_peak_gib(job: Job) -> float | None:
    """The predicted peak of a job if it was ever made, for its row."""
    prediction = known(job)
    return prediction.peak_gib if prediction else None


def keep(job: Job, prediction: Prediction) -> None:
    """Write a prediction; a folder that cannot be written to only costs time later."""
    if job.memory.extra:
        return
    with contextlib.suppress(OSError), renamed_when_done(_path(job)) as part:
        part.write_text(json.dumps(asdict(prediction), separators=(",", ":")), encoding="utf-8", newline="\n")


def front_key(job: Job) -> str:
    """The key of all that decides a prediction up to the decode; jobs of equal keys are simulated together."""
    return digest(_front(job))


def chunk_of(job: Job) -> int:
    """Frames that are decoded together; `auto` follows the free memory, so what must fit is one frame."""
    return 1 if job.decode_chunk_size == "auto" and not job.decodes_by_frame else job.frames_per_decode


@cache
def versions() -> str:
    """A hash that changes with any library or source that a prediction depends on."""
    state = hashlib.sha256("\n".join(f"{name} {version_of(name)}" for name in LIBRARIES).encode())
    sources = sorted(path for pattern in SOURCES for path in PACKAGE.glob(pattern))
    configs = (*TINY.glob("*/*.json"), *TINY.parent.glob("decoders/*/*.json"))
    for path in (*sources, *sorted(configs)):
        state.update(path.read_bytes())
    return state.hexdigest()[:12]


def _front(job: Job) -> dict[str, Any]:
    model = {name: getattr(job.model, name) for name in ("architecture", "dtype")}
    sizes = {name: getattr(job, name) for name in ("num_frames", "height", "width")}
    memory = {k: v for k, v in canonical(job.memory).items() if k not in PER_RUN}  # they decide what follows
    other = {"decoder": job.model.decoder} if job.decodes_by_frame else {}
    return {
        **model,
        **other,
        **sizes,
        "steps": unet_calls_of(job),
        "turns": turns_of(job),
        "guided": is_guided(job),
        "memory": memory,
    }


def _path(job: Job) -> Path:
    return folder() / versions() / f"{digest(_front(job) | {'chunk': chunk_of(job)})}.json"
