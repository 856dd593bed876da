"""`sweep.json`: the command, the axes and the keys of a sweep, for those who follow or read it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from svdsweep.config.version import __version__
from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import read_plain
from svdsweep.store.secrets import masked

FILE = "sweep.json"


@dataclass(frozen=True)
class Manifest:
    """What the last command of a sweep asked for."""

    name: str
    settings: Sequence[str]
    config_dir: str | None
    axes: Mapping[str, Sequence[str]]
    keys: Sequence[str]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `sweep.json` into a sweep's folder."""
    written_at = datetime.now(UTC).isoformat(timespec="seconds")
    settings = [masked(setting) for setting in manifest.settings]
    facts = asdict(manifest) | {"settings": settings, "svdsweep": __version__, "written_at": written_at}
    with renamed_when_done(folder / FILE) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8", newline="\n")


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """What `sweep.json` says, as plain data; what is not of the form that is written here is left out.

    Raises OSError and ValueError where it cannot be read."""
    plain = orjson.loads(read_plain(folder / FILE))
    kinds = {"name": str, "settings": list, "axes": dict, "keys": list}
    facts = plain if isinstance(plain, dict) else {}
    return {name: value for name, value in facts.items() if isinstance(value, kinds.get(name, object))}


def wanted_keys(folder: Path) -> set[str] | None:
    """The keys of the sweep's last command; None where the manifest does not tell."""
    try:
        return {str(key) for key in read_manifest(folder)["keys"]}
    except (OSError, ValueError, KeyError):
        return None
