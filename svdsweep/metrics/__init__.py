"""What is computed from frames: one file a family, one signature, no weights unless a family says so.

A family is a module of this package with `COLUMNS`, a tuple of `Column`, and `score(footage, context) -> Measurements`;
`footage.frames` are the frames, and what several families need is computed once there. It imports torch only inside
its functions, so that the catalogue of columns can be read without. `conf/metrics/*.yaml` names the families; a name
with a dot is the import path of a module of your own.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING

from svdsweep.errors import UserError, nearest
from svdsweep.metrics.contract import Context
from svdsweep.store.columns import MEASURED, Column
from svdsweep.store.measurements import Measurements
from svdsweep.store.vbench import COLUMNS as VBENCH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CATALOGUE",
    "COLUMNS",
    "FAMILIES",
    "HOMES",
    "Column",
    "Context",
    "Measurements",
    "catalogue",
    "headlines",
    "need_the_device",
    "score",
]

FAMILIES = tuple(
    sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and m.name != "contract")
)
"""The families that come with svdsweep."""
NETWORKS = {"clip", "lpips", "stlpips", "cvvdp"}
"""Those of them that run a network, or as much."""
PACKAGES = {"stlpips": "stlpips_pytorch", "cvvdp": "pycvvdp"}
"""What those of them need that svdsweep itself does not: its extra `perceptual`."""


def family(name: str) -> ModuleType:
    """The module of a family. Raises UserError when there is none of that name, or its package is missing."""
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        raise UserError(
            f"metrics.families: {name} needs {PACKAGES[name]}, which is not here: "
            'pip install "svdsweep[perceptual]".'
        )
    if name in FAMILIES:
        return _own(name)
    try:
        module = importlib.import_module(name) if "." in name else None
    except ImportError as e:
        raise UserError(f"metrics.families: {name} cannot be imported ({e}).") from e
    if not hasattr(module, "score"):
        raise UserError(
            f"metrics.families: there is no family {name}. There are {', '.join(FAMILIES)}, and modules of your own "
            f"by import path, with a function `score(footage, context)`.{nearest(name, FAMILIES)}"
        )
    assert module is not None
    return module


def _own(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


COLUMNS: dict[str, Column] = {column.name: column for name in FAMILIES for column in _own(name).COLUMNS}
"""Every metric by its column's name."""
HOMES: dict[str, str] = {column.name: name for name in FAMILIES for column in _own(name).COLUMNS}
"""The family of each of them."""
CATALOGUE: dict[str, Column] = {
    **{column.name: column for column in MEASURED},
    **COLUMNS,
    **{column.name: column for column in VBENCH},
}
"""Every column of numbers that tables, plots and the page know: what a job measures, the metrics, and VBench's."""


def catalogue(families: Iterable[str]) -> dict[str, Column]:
    """`CATALOGUE` with the `COLUMNS` of modules of one's own. Only of those that this process has imported: what the
    rows of a sweep name is never imported for it."""
    own = [sys.modules[name] for name in families if name not in FAMILIES and name in sys.modules]
    columns = (
        each for module in own if isinstance(them := getattr(module, "COLUMNS", ()), tuple) for each in them
    )
    return CATALOGUE | {column.name: column for column in columns if isinstance(column, Column)}


def headlines(names: Iterable[str], least: int, columns: Mapping[str, Column] = CATALOGUE) -> list[str]:
    """Those of `names` that are shown at the prominence `least`: see `Column.headline`."""
    return [name for name in names if name in columns and columns[name].headline >= least]


def need_the_device(families: Iterable[str]) -> bool:
    """Whether a family runs a network, or may, which would take too long on the CPU beside a GPU's next job."""
    return any(name not in FAMILIES or name in NETWORKS for name in families)


def score(frames: "NDArray[np.uint8]", context: Context, families: Sequence[str]) -> Measurements:
    """All metrics of `families` for `frames` (F, H, W, 3), uint8 RGB as generated, before any compression.

    Runs on `context.device`, or on the CPU where that device's memory does not suffice. Raises UserError for frames
    that are no such array."""
    if not families:
        return Measurements()
    import torch

    from svdsweep.metrics.shared.footage import Footage

    modules = [family(name) for name in families]
    total = Measurements()
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        others = context.others({getattr(module, "COMPARED_WITH", "") for module in modules})
        footage = Footage(frames, torch.device(context.device), others)
        footage.check_context(context)
        with nullcontext() if need_the_device(families) else footage.compared_beside():
            for module in modules:
                try:
                    part = module.score(footage, context)
                except torch.OutOfMemoryError:
                    if footage.device.type == "cpu":
                        raise
                    footage = Footage(frames, torch.device("cpu"), others)
                    part = module.score(footage, context)
                    name = module.__name__.rpartition(".")[2]
                    total.notes.append(f"metrics from {name} on ran on the CPU: no room")
                total.add(part)
    return total
