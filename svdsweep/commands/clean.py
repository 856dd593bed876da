"""`svdsweep clean`: what of sweeps' folders may go, how much room it takes, and its removal when the user says so."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from svdsweep.commands.request import Parser
from svdsweep.errors import DONE, SOME_FAILED, UserError, nearest
from svdsweep.platforms import system
from svdsweep.runner.leases import is_run_now
from svdsweep.store.files import clear_unfinished
from svdsweep.store.manifest import is_sweep
from svdsweep.store.places import OF_JOBS, PREVIEWS, files_in
from svdsweep.store.rows import Row, Store
from svdsweep.terminal import table, visible, warn

MIB = 2**20
KINDS = {
    "logs": "what workers wrote; needed only to see why a job failed",
    "waiting": "frames of jobs whose baseline has not run: with it they would be compared without running again",
    "strays": "videos, sheets and kept frames of jobs that have no row (any more), pictures of runs that were killed",
    "baselines": "frames of baselines: without them a strategy that is added later is not compared",
    "videos": "videos and contact sheets; the tables stay, the page has no pictures",
}
"""What may go, and what is lost with it."""
USUAL = ("logs", "waiting", "strays")


def main(argv: Sequence[str]) -> int:
    """Tell what may go, ask, remove it; returns the exit code, 1 where the user said no. Raises UserError."""
    kinds = "\n".join(f"  {kind:<11}{about}" for kind, about in KINDS.items())
    parser = Parser(
        "clean",
        "Remove from sweeps what is not needed any more. It tells what that is and asks. Rows, tables and the page "
        "always stay.",
        f"kinds of files:\n{kinds}\n\nexample:\n  svdsweep clean runs/motion --kinds logs,baselines",
    )
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    add("--kinds", default=",".join(USUAL), metavar="A,B", help=f"what may go (default: {','.join(USUAL)})")
    parser.add_flag("--yes", "remove without asking")
    parser.add_json("tell as one JSON document, and remove only with --yes")
    asked = parser.asked(argv)
    files = {folder: what_may_go(folder, _kinds(asked.kinds)) for folder in asked.folders}
    paths = [path for kinds in files.values() for several in kinds.values() for path in several]
    print(visible(_document(files) if asked.json else _in_words(files)))
    if paths and (asked.yes or not asked.json):
        return _remove(paths, asked.folders, asked.yes)
    return DONE


def _remove(paths: Sequence[Path], folders: Sequence[Path], agreed: bool) -> int:
    if not (agreed or _agreed(len(paths))):
        print("Nothing was removed.", file=sys.stderr)
        return SOME_FAILED
    for path in paths:
        system.remove(path)
    for folder in folders:
        clear_unfinished(folder)
    return DONE


def _kinds(text: str) -> list[str]:
    """The kinds of `--kinds`. Raises UserError."""
    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"--kinds={text}: {kind!r} is none of {', '.join(KINDS)}.{nearest(kind, KINDS)}")
    return kinds


def what_may_go(folder: Path, kinds: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each kind in a sweep; a file of two kinds is told once. Raises UserError for what is no sweep, and
    for one that is being run."""
    if not is_sweep(folder):
        raise UserError(f"{folder} is no folder of a sweep. `svdsweep list` tells what is there.")
    if is_run_now(folder):
        raise UserError(
            f"{folder} is being run: what it needs cannot be told from what may go until it ends."
        )
    store = Store(folder)
    rows = store.rows()
    warn(folder, store.faults)
    found: dict[str, list[Path]] = {}
    for kind in kinds:
        taken = {path for several in found.values() for path in several}
        found[kind] = [path for path in _files(folder, kind, rows) if path not in taken]
    return found


def _files(folder: Path, kind: str, rows: Mapping[str, Row]) -> list[Path]:
    if kind == "logs":
        return files_in(folder, "logs")
    if kind == "waiting":
        return files_in(folder, "baselines/waiting")
    if kind == "baselines":
        return files_in(folder, "baselines")
    if kind == "videos":
        return [*files_in(folder, "videos"), *files_in(folder, "sheets")]
    strays = [path for place in OF_JOBS for path in files_in(folder, place) if path.stem not in rows]
    return [*strays, *files_in(folder, PREVIEWS)]  # nothing runs, so these were left behind


def _agreed(count: int) -> bool:
    """Whether the user says that so many files may go. Raises UserError where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to ask on: `--yes` removes these files without asking.")
    answer = input(f"Remove these {count} files? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _bytes(paths: Sequence[Path]) -> int:
    return sum(path.lstat().st_size for path in paths)


def _document(files: Mapping[Path, Mapping[str, Sequence[Path]]]) -> str:
    told = {
        str(folder): {kind: list(map(str, paths)) for kind, paths in k.items()} for folder, k in files.items()
    }
    return json.dumps(told, indent=1)


def _in_words(files: Mapping[Path, Mapping[str, Sequence[Path]]]) -> str:
    """What may go, a line for each sweep and kind."""
    lines = [
        [str(folder), kind, str(len(paths)), f"{_bytes(paths) / MIB:.1f}", KINDS[kind]]
        for folder, kinds in files.items()
        for kind, paths in kinds.items()
        if paths
    ]
    if not lines:
        return "There is nothing of that kind."
    return table(
        ("sweep", "kind", "files", "mib", "what is lost with them"), lines, [False, False, True, True, False]
    )
