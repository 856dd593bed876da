"""The GPU of this machine, at the rates that `svdsweep doctor` measured; they are kept in the user's cache."""

import contextlib
import dataclasses
import json
from pathlib import Path

from svdsweep.errors import UserError
from svdsweep.predict import cache
from svdsweep.predict.gpus import Gpu, gpu_named, known_gpus
from svdsweep.store.files import renamed_when_done

HERE = "here"


def gpu_asked(name: str) -> Gpu:
    """The GPU that `--gpu` means: one of the table, or `here`. Raises UserError."""
    if name != HERE:
        return gpu_named(name)
    from svdsweep.probes.devices import discover, gpu_name

    mine = next(filter(None, map(gpu_name, discover("auto"))), None)
    if mine is None:
        raise UserError(f"--gpu here: there is no GPU here. Name one of {', '.join(known_gpus())}.")
    if measured := measured_gpus().get(mine):
        return measured
    try:
        return gpu_named(mine)
    except UserError as e:
        unknown = f"{mine} was not measured yet and is not in the table of published peaks"
        raise UserError(f"--gpu here: {unknown}. `svdsweep doctor` measures it.") from e


def rates_file() -> Path:
    """`svdsweep/rates.json` in the user's cache."""
    return cache.folder().parent / "rates.json"


def measured_gpus() -> dict[str, Gpu]:
    """Every GPU that `svdsweep doctor` measured, by its name; none where the file is missing or damaged."""
    try:
        plain = json.loads(rates_file().read_text(encoding="utf-8"))
        return {str(name): Gpu(**facts) for name, facts in plain.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep(gpu: Gpu) -> bool:
    """Add a measured GPU to the file, in place of an earlier measurement; False where it cannot be written."""
    plain = {name: dataclasses.asdict(each) for name, each in (measured_gpus() | {gpu.title: gpu}).items()}
    with contextlib.suppress(OSError), renamed_when_done(rates_file()) as part:
        part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8", newline="\n")
        return True
    return False
