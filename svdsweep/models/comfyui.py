"""Where ComfyUI keeps checkpoints, so that `model.source=comfyui:svd_xt` finds one by its name."""

import os
from pathlib import Path

from svdsweep.errors import UserError, nearest, some
from svdsweep.models.layout import PICKLES
from svdsweep.models.single import ENDS

PREFIX = "comfyui:"
VARIABLE = "COMFYUI_PATH"
PLACES = ("models/checkpoints", "checkpoints")
"""ComfyUI's own place below its folder (`folder_paths.py`), and that below its models' folder."""
NAMES_TOLD = 6


def found(source: str) -> str:
    """The path of the checkpoint that `comfyui:NAME` names, in ComfyUI's folder or deeper, with its ending or without;
    any other source as it is. Raises UserError with what there is."""
    if not source.startswith(PREFIX):
        return source
    name, folder = source.removeprefix(PREFIX), _checkpoints(source)
    paths = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    for endings in (ENDS, PICKLES):  # a pickle is refused by its own sentence, where there is nothing better
        names = {
            path: (path, path.removesuffix(end)) for end in endings for path in paths if path.endswith(end)
        }
        exact = [path for path, full in names.items() if name in full]
        by_name = [path for path, full in names.items() if name in [one.rpartition("/")[2] for one in full]]
        if len(one := exact or by_name) == 1:
            return str(paths[one[0]])
        if one:
            which = " or ".join(f"{PREFIX}{path}" for path in one)
            raise UserError(f"model.source={source}: {folder} has several of that name. Say which: {which}.")
    there = [path for path in paths if path.endswith(ENDS)]
    listed = some(there, NAMES_TOLD) or "no safetensors file"
    stems = [path.rpartition("/")[2].rpartition(".")[0] for path in there]
    raise UserError(
        f"model.source={source}: {folder} has no checkpoint of that name. There is: {listed}.{nearest(name, stems)}"
    )


def _checkpoints(source: str) -> Path:
    """ComfyUI's folder of checkpoints. Raises UserError where it is not known, or not there."""
    if not (root := os.environ.get(VARIABLE)):
        raise UserError(
            f"model.source={source}: where ComfyUI lies is not known. Set the environment variable {VARIABLE} to its "
            "folder (the one that holds models/checkpoints/), or give the file itself."
        )
    folders = [Path(root).expanduser() / place for place in PLACES]
    if there := next((folder for folder in folders if folder.is_dir()), None):
        return there
    raise UserError(f"model.source={source}: {VARIABLE}={root} holds no models/checkpoints/ folder.")
