"""Names that tell jobs apart: different models, pictures or presets of one name get what sets them apart."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from svdsweep.config import Image, Job, Model
from svdsweep.config.adapters import Lora, as_text, loras
from svdsweep.config.keys import CANONICAL, canonical
from svdsweep.config.rules import rule_of, typed
from svdsweep.store.columns import NAMED, OF_THEIR_OWN, TOLD_BY_THE_STRATEGY
from svdsweep.store.rows import Row

BESIDE = tuple(column.partition(".")[2] for column in (*OF_THEIR_OWN, *TOLD_BY_THE_STRATEGY))
"""Settings that tables show beside the name of their part, or behind the strategy's."""
HASH_DIGITS = 7


def rows_told_apart(rows: Iterable[Row]) -> list[Row]:
    """The same rows, their jobs' names as by `told_apart`."""
    rows = list(rows)
    pairs = zip(rows, told_apart([row.job for row in rows]), strict=True)
    return [row if job is row.job else dataclasses.replace(row, job=job) for row, job in pairs]


def told_apart(jobs: Sequence[Job]) -> list[Job]:
    """The same jobs, in which parts of one name are equal. Names are labels: no job's key changes.

    A picture is named by its file, with its ending or its folder where that is needed, else with the first digits of
    its hash; anything else by the settings that differ, as in `baseline+forward_chunk_size=2`, but for a part that is
    as by default, which keeps its name."""
    renamed = {part: _new_names([getattr(job, part) for job in jobs]) for part in NAMED}
    if not any(renamed.values()):
        return list(jobs)
    return [_renamed(job, renamed) for job in jobs]


def _renamed(job: Job, renamed: Mapping[str, Mapping[int, str]]) -> Job:
    new = {}
    for part in NAMED:
        old = getattr(job, part)
        if (name := renamed[part].get(id(old), old.name)) != old.name:
            new[part] = dataclasses.replace(old, name=name)
    return dataclasses.replace(job, **new) if new else job


def _new_names(parts: Iterable[Any]) -> dict[int, str]:
    """The names of those parts that share theirs with a different one, by `id`."""
    objects = {id(part): part for part in parts}
    by_name: dict[tuple[str, ...], dict[int, str]] = {}
    for i, part in objects.items():
        shown = (part.name, part.weights) if isinstance(part, Model) else (part.name,)
        by_name.setdefault(shown, {})[i] = _identity(part)
    names: dict[int, str] = {}
    for identities in by_name.values():
        several = {identity: objects[i] for i, identity in identities.items()}
        if len(several) > 1:
            label = dict(zip(several, _labels(list(several.values())), strict=True))
            names |= {i: label[identity] for i, identity in identities.items()}
    return names


def _identity(part: Any) -> str:
    """What distinguishes a part from others of its name."""
    return CANONICAL.encode({name: value for name, value in canonical(part).items() if name not in BESIDE})


def _labels(parts: Sequence[Any]) -> list[str]:
    """A name for each of several different parts of one name."""
    if isinstance(parts[0], Image) and len(set(files := _files(parts))) == len(parts):
        return files
    words = {field: [str(value) for value in values] for field, values in _shown(parts).items()}
    chosen: list[str] = []
    told: list[tuple[str, ...]] = [()] * len(parts)
    for field, values in words.items():
        finer = [(*known, value) for known, value in zip(told, values, strict=True)]
        if len(set(finer)) > len(set(told)):
            chosen, told = [*chosen, field], finer
    return [
        "+".join([part.name, *(f"{field}={words[field][i]}" for field in chosen if canonical(part))])
        for i, part in enumerate(parts)
    ]


def _shown(parts: Sequence[Any]) -> dict[str, list[str]]:
    """Each setting's values in these parts, short: the last names of a path, the first digits of a hash."""
    fields = [f for f in dataclasses.fields(parts[0]) if not ((rule := rule_of(f)) and rule.label)]
    values = {f.name: [typed(getattr(part, f.name)) for part in parts] for f in fields}
    values |= {name: SHORT[name](words) for name, words in values.items() if name in SHORT}
    return {name: words for name, words in values.items() if name not in BESIDE}


def _short_loras(texts: Sequence[str]) -> list[str]:
    """The LoRA of each model, their paths as short as set all of them apart."""
    several = [loras(text) for text in texts]
    paths = list({place: None for found in several for place, _ in found})
    short = dict(zip(paths, short_paths(paths), strict=True))
    return [as_text([Lora(short[place], weight) for place, weight in found]) for found in several]


def _files(images: Sequence[Image]) -> list[str]:
    """Pictures of one name by ending, by folder, or by hash: the first that sets all of them apart."""
    steps = [[part for part in re.split(r"[/\\]", image.path) if part] or [image.name] for image in images]
    by_ending = [step[-1] for step in steps]
    by_folder = ["/".join([*step[-2:-1], image.name]) for step, image in zip(steps, images, strict=True)]
    by_hash = [f"{image.name}+{image.sha256[:HASH_DIGITS]}" for image in images]
    return next((names for names in (by_ending, by_folder) if len(set(names)) == len(images)), by_hash)


def short_paths(paths: Sequence[str]) -> list[str]:
    """The last names of each path, as few for all as set different paths apart."""
    steps = [[part for part in re.split(r"[/\\]", path) if part] for path in paths]
    for count in range(1, max(map(len, steps), default=0)):
        tails = ["/".join(step[-count:]) for step in steps]
        if len(set(tails)) == len(set(paths)):
            return tails
    return list(paths)


def _first_digits(hashes: Sequence[str]) -> list[str]:
    return ["+".join(digits[:HASH_DIGITS] for digits in several.split("+")) for several in hashes]


SHORT = {
    **dict.fromkeys(("revision", "unet_revision", "lora_revision", "sha256"), _first_digits),
    **dict.fromkeys(("source", "unet"), short_paths),
    "lora": _short_loras,
}
"""How the values of a setting are told, where they are long."""
