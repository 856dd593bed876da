"""Where ComfyUI keeps checkpoints, so that `model.source=comfyui:svd_xt` finds one by its name."""

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path, PurePosixPath

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
    below = glob("**/*", root_dir=folder, recursive=True)  # follows links to folders, as ComfyUI does
    paths = sorted(Path(path).as_posix() for path in below if (folder / path).is_file())
    fitting = _named(name, paths, ENDS) or _named(name, paths, PICKLES)  # a pickle has its own refusal
    if len(fitting) == 1:
        return str(folder / fitting[0])
    if fitting:
        which = " or ".join(PREFIX + path for path in fitting)
        raise UserError(f"model.source={source}: {folder} has several of that name. Say which: {which}.")
    there = [path for path in paths if path.endswith(ENDS)]
    listed = some(there, NAMES_TOLD) or "no safetensors file"
    close = nearest(name, [PurePosixPath(path).stem for path in there])
    raise UserError(
        f"model.source={source}: {folder} has no checkpoint of that name. There is: {listed}.{close}"
    )


def _named(name: str, paths: Sequence[str], endings: tuple[str, ...]) -> list[str]:
    """The checkpoints of a name: a path in the folder or, where there is none, the name of a file; endings may be left
    out."""
    files = [PurePosixPath(path) for path in paths if path.endswith(endings)]
    whole = [str(file) for file in files if name in (str(file), str(file.with_suffix("")))]
    return whole or [str(file) for file in files if name in (file.name, file.stem)]


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
