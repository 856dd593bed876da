"""Whether a folder in diffusers' layout or a single file holds a whole pipeline that svdsweep runs; by headers alone.

Local folders, files and snapshots in the hub's cache are judged alike, by the driver before any worker starts, and
once more by the worker, whose machine and hour may be others."""

from pathlib import Path
from typing import Any

from svdsweep.config import Model
from svdsweep.errors import UserError, some
from svdsweep.models.contents import of_class, of_index, of_numbers, of_tensors, read_config, read_weights
from svdsweep.models.layout import (
    CONFIGS,
    FROM_BASE,
    GO_ON,
    INDEX,
    WEIGHTS,
    Fault,
    Judged,
    missing,
    names_in,
    weights_of,
)
from svdsweep.models.single import look as look_at_file

FAULTS_TOLD = 3
HALF_PRECISION = {"F16": "float16", "BF16": "bfloat16"}


def judge(folder: Path, model: Model, hub: str = "") -> Judged:
    """The folder or single file judged. Raises UserError with what is wrong and what to do, in one paragraph.

    `hub` is what `hf download` takes to fetch the folder, where it is a snapshot in the hub's cache."""
    judged = look_at(folder, model)
    if judged.faults:
        raise UserError(refusal(judged.faults, model, folder, hub))
    return judged


def look_at(place: Path, model: Model) -> Judged:
    """All that is wrong with a model's folder or single file. Raises UserError where it cannot be looked into."""
    if not place.is_file():
        return look(place, model.variant)
    try:
        return look_at_file(place, model.architecture)
    except OSError as e:
        raise unreadable(place, e) from e


def refusal(faults: list[Fault], model: Model, folder: Path, hub: str) -> str:
    """The paragraph that refuses a folder."""
    where = f"{model.source}, in the hub's cache ({folder})" if hub else folder
    cure = cures(faults, model.source if hub else str(folder), hub)
    return f"model.source={where}: {whats(faults)}. {cure}"


def unreadable(source: Path | str, e: OSError, key: str = "model.source") -> UserError:
    """The refusal of what the operating system does not let one read."""
    where = "it" if e.filename in (None, str(source)) else e.filename
    denied = "Make it readable to you (on Linux and macOS `chmod -R u+rX`)"
    cure = f"{denied if isinstance(e, PermissionError) else 'Copy it again'}, or give another place."
    return UserError(f"{key}={source}: {where} cannot be read ({e.strerror}). {cure}")


def whats(faults: list[Fault]) -> str:
    """The first faults, and how many more there are."""
    return some([fault.what for fault in faults], FAULTS_TOLD, ";")


def cures(faults: list[Fault], source: str, hub: str = "") -> str:
    """What to do about the faults that are told, each cure once."""
    sentences = dict.fromkeys((fault.on_hub if hub else "") or fault.cure for fault in faults[:FAULTS_TOLD])
    return " ".join(sentences).replace("{hub}", hub).replace("{source}", source)


def doubts(model: Model, judged: Judged) -> list[str]:
    """What is read of a whole folder, but perhaps not as hoped: plain files for a variant, rounded weights."""
    plain = " and ".join(part for part, variant in judged.variants.items() if variant != model.variant)
    rounded = {part: HALF_PRECISION.keys() & types for part, types in judged.stored.items()}
    found = []
    if plain:
        found.append(f"model.variant={model.variant}: there is none of {plain}; the plain files are read.")
    if model.dtype == "float32" and any(rounded.values()):
        parts = ", ".join(part for part, types in rounded.items() if types)
        kinds = " and ".join(HALF_PRECISION[kind] for kind in sorted(set().union(*rounded.values())))
        stored = f"{model.source} stores {parts} in {kinds}"
        found.append(f"model.dtype=float32: {stored}; float32 computes with these rounded weights.")
    return found


def look(folder: Path, variant: str | None) -> Judged:
    """All that is wrong with a folder, and what is read from it. Raises UserError where it cannot be looked into."""
    try:
        names = names_in(folder)
        if INDEX not in names:
            return Judged([Fault(f"{INDEX} is missing", FROM_BASE, GO_ON, absent=True)])
        broken_off = any((folder / ".cache" / "huggingface").rglob("*.incomplete"))
        if faults := of_index(folder) or missing(names, variant, broken_off):
            return Judged(faults)
        return _contents(folder, names, variant)
    except OSError as e:
        raise unreadable(folder, e) from e


def _contents(folder: Path, names: set[str], variant: str | None) -> Judged:
    """A folder that lacks no file, judged by what is in them. Raises OSError."""
    faults: list[Fault] = []
    configs: dict[str, dict[str, Any]] = {}
    for part, name in CONFIGS.items():
        config = read_config(folder, name)
        faults += [config] if isinstance(config, Fault) else of_class(part, config)
        configs[part] = config if isinstance(config, dict) else {}
    faults += [] if faults else of_numbers(configs)
    fitting = not faults
    judged = Judged(faults)
    for part in WEIGHTS:
        read = weights_of(names, part, variant)
        assert read  # nothing is missing
        judged.variants[part] = read.variant
        tensors = read_weights(folder, read.name)
        if isinstance(tensors, Fault):
            judged.faults.append(tensors)
            continue
        judged.stored[part] = {tensor.dtype for tensor in tensors.values()}
        if fitting:
            judged.faults.extend(of_tensors(part, read.name, tensors, configs))
    return judged
