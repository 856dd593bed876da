"""Which files of a pipeline in diffusers' layout are read, and which are missing: told by names alone.

So it holds for a folder, a snapshot in the hub's cache, and what the hub lists of a model that is not here yet."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from svdsweep.errors import some

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
"""Stem of each network's weight file."""
CONFIGS = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "image_encoder": "image_encoder/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "feature_extractor": "feature_extractor/preprocessor_config.json",
}
"""The config file of each component; a pipeline needs all five."""
INDEX = "model_index.json"
FILES_TOLD = 4
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
HALF = (".incomplete", ".part", ".crdownload", ".aria2", ".download", ".filepart", ".tmp")
"""Endings that browsers and downloaders give a file until it is whole."""
BASE = "stabilityai/stable-video-diffusion-img2vid-xt"
FROM_BASE = (
    f"Copy what is missing from the model that this one was made from: `hf download {BASE} --local-dir BASE` fetches "
    '`BASE` (with `--include "*.json"` its config files alone).'
)
GO_ON = "`hf download {hub}` goes on where the download broke off."

BROKEN_OFF = "A download broke off: run it again, it goes on from there."
CONVERT = (
    "Only safetensors are read, never a pickle. If you trust it, this makes a folder of safetensors: `python -c "
    '"from diffusers import StableVideoDiffusionPipeline as P; '
    "P.from_pretrained('{source}', use_safetensors=False).save_pretrained('NEW')\"`, then model.source=NEW."
)
CURES = {
    **{f"{ending}\n": BROKEN_OFF for ending in HALF},
    **{f"{ending}\n": CONVERT for ending in PICKLES},
    "-of-": "The index of the shards is missing: copy or download it too.",
    ".safetensors\n": "Give the file that is there this name.",
}
"""What to do by a sign in the names that lie where a weight file is missing, the first that is found."""


@dataclass(frozen=True)
class Fault:
    """Why a folder cannot be read as a pipeline: what is wrong, and what to do about it."""

    what: str
    cure: str
    on_hub: str = ""
    """What to do where the folder is a snapshot in the hub's cache, if that is another thing; `{hub}` is what
    `hf download` takes."""
    absent: bool = False
    """Something is not there, so that a download may bring it; else it is there and wrong."""


@dataclass(frozen=True)
class Judged:
    """What was found of a pipeline's folder, or of a single file."""

    faults: list[Fault]
    variants: dict[str, str | None] = field(default_factory=dict)
    """By network: the variant that its weights are read from, None for the plain names."""
    stored: dict[str, set[str]] = field(default_factory=dict)
    """By network: in which types its weights are stored, in safetensors' words."""


@dataclass(frozen=True)
class Weights:
    """What a network's weights are read from."""

    name: str
    """The file, or the index of its shards, in the folder."""
    variant: str | None


def names_in(folder: Path) -> set[str]:
    """The files of a pipeline's folder and of its components' (`unet/config.json`). Raises OSError."""
    folders = [folder, *(folder / part for part in CONFIGS if (folder / part).is_dir())]
    return {p.relative_to(folder).as_posix() for at in folders for p in at.iterdir() if p.is_file()}


def weights_of(names: Iterable[str], part: str, variant: str | None) -> Weights | None:
    """What diffusers and transformers read of a network: the variant where it has files of that, else the plain
    ones; None where there are neither. With both an index and a whole file, diffusers takes the index first."""
    for kind in dict.fromkeys((variant, None)):
        dot, stem = f".{kind}" if kind else "", f"{part}/{WEIGHTS[part]}"
        whole, index = f"{stem}{dot}.safetensors", f"{stem}.safetensors.index{dot}.json"
        for name in (whole, index) if part == "image_encoder" else (index, whole):
            if name in names:
                return Weights(name, kind)
    return None


def missing(names: set[str], variant: str | None, broken_off: bool = False) -> list[Fault]:
    """A fault for each component that cannot be read whole from files of these names.

    `broken_off` tells that parts of a download lie elsewhere in the folder."""
    faults = []
    kinds = {part: variants(names, part) for part in WEIGHTS}
    better = _better(names, kinds, variant)
    for part, config in CONFIGS.items():
        if not any(name.startswith(f"{part}/") for name in names):
            faults.append(Fault(f"there is no {part}/", FROM_BASE, GO_ON, absent=True))
            continue
        if config not in names:
            faults.append(Fault(f"{config} is missing", FROM_BASE, GO_ON, absent=True))
        if part in WEIGHTS and not weights_of(names, part, variant):
            faults.append(_no_weights(names, part, variant, better, broken_off))
    if not faults and variant and not any(variant in of_part for of_part in kinds.values()):
        faults = [_no_weights(names, part, variant, better, broken_off) for part in WEIGHTS]
    return faults


def to_download(names: set[str], variant: str | None) -> list[str]:
    """Patterns of the files that are read, for a download from a repository that has these names."""
    wanted = ["*.json"]
    for part, stem in WEIGHTS.items():
        if read := weights_of(names, part, variant):
            is_index = read.name.endswith(".json")
            shards = f"{part}/{stem}*{read.variant or ''}*.safetensors"
            wanted.append(shards if is_index else read.name)
    return wanted


def variants(names: Iterable[str], part: str) -> set[str | None]:
    """The variants of which a network has a weight file or an index, None for the plain names."""
    stem = re.escape(f"{part}/{WEIGHTS[part]}")
    pattern = re.compile(rf"{stem}(?:\.(\w+))?\.safetensors|{stem}\.safetensors\.index(?:\.(\w+))?\.json")
    return {match[1] or match[2] for name in names if (match := pattern.fullmatch(name))}


def _better(names: set[str], kinds: dict[str, set[str | None]], asked: str | None) -> str:
    """The sentence that names the variant of which all networks can be read, if there is one."""
    for variant in sorted({v for of_part in kinds.values() for v in of_part} - {asked}, key=str):
        if all(weights_of(names, part, variant) for part in WEIGHTS):
            plain = [part for part in WEIGHTS if variant and variant not in kinds[part]]
            also = f", and the plain files of {' and '.join(plain)}" if plain else ""
            return f"model.variant={variant or 'null'} reads what is there{also}."
    return ""


def _no_weights(names: set[str], part: str, variant: str | None, better: str, broken_off: bool) -> Fault:
    """The fault of a component without weights that can be read: what lies there instead decides its cure."""
    dot = f".{variant}" if variant else ""
    there = sorted(n for n in names if n.startswith(f"{part}/") and not n.endswith((".md", "config.json")))
    listed = some(there, FILES_TOLD) or "no weight file"
    what = f"{part}/{WEIGHTS[part]}{dot}.safetensors is missing (there is: {listed})"
    if better:
        return Fault(what, better, absent=True)
    text = "".join(f"{name}\n" for name in there)
    cure = BROKEN_OFF if broken_off else next((CURES[sign] for sign in CURES if sign in text), FROM_BASE)
    return Fault(what, cure, "" if cure == CONVERT else GO_ON, absent=True)
