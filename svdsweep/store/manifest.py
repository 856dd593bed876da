"""`sweep.json`: the command, the axes and the keys of a sweep, for those who follow or read it."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from svdsweep.config.version import __version__
from svdsweep.errors import UserError
from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import files_in, is_plain, read_plain
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
    tags: Sequence[str] = ()
    note: str = ""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `sweep.json` into a sweep's folder; tags and note that are not given stay what they were."""
    written_at = datetime.now(UTC).isoformat(timespec="seconds")
    settings = [masked(setting) for setting in manifest.settings]
    facts = asdict(manifest) | {"settings": settings, "svdsweep": __version__, "written_at": written_at}
    with contextlib.suppress(OSError, ValueError):
        before = read_manifest(folder)
        facts |= {name: before[name] for name in ("tags", "note") if before.get(name) and not facts[name]}
    with renamed_when_done(folder / FILE) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8", newline="\n")


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """What `sweep.json` says, as plain data; what is not of the form that is written here is left out.

    Raises OSError and ValueError where it cannot be read."""
    plain = orjson.loads(read_plain(folder / FILE))
    kinds = {
        "name": str,
        "settings": list,
        "axes": dict,
        "keys": list,
        "tags": list,
        "note": str,
        "written_at": str,
    }
    facts = plain if isinstance(plain, dict) else {}
    return {name: value for name, value in facts.items() if isinstance(value, kinds.get(name, object))}


def wanted_keys(folder: Path) -> set[str] | None:
    """The keys of the sweep's last command; None where the manifest does not tell."""
    try:
        return {str(key) for key in read_manifest(folder)["keys"]}
    except (OSError, ValueError, KeyError):
        return None


def sweeps_in(folder: Path) -> list[Path]:
    """The sweeps' folders in a folder, sorted by name; no link among them. Raises UserError where it is none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder. `--in DIR` names the one in which the sweeps are.")
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return [path for path in inside if is_sweep(path)]


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds a manifest or rows."""
    return is_plain(folder / FILE) or bool(files_in(folder, "rows"))
