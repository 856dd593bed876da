"""`svdsweep export`: a sweep handed to another tool: a tracker, tables, or VBench."""

from collections.abc import Sequence
from pathlib import Path

from svdsweep.commands.request import Parser
from svdsweep.config.runner import TRACKERS
from svdsweep.errors import UserError
from svdsweep.export import export, place_of, tracker
from svdsweep.store.manifest import is_sweep
from svdsweep.store.rows import Row, Store
from svdsweep.terminal import visible, warn

TARGETS = """\
where to:
  mlflow       an experiment a sweep, a run a job; runs/export/mlflow, or --into URI
  wandb        runs in Weights & Biases' offline mode, for `wandb sync`
  tensorboard  an event file a job: hyperparameters, series, contact sheets
  csv          tables: jobs, and every number and series in long form with its unit
  vbench       videos laid out and named for VBench-I2V; needs --into DIR

Nothing leaves this machine unless --into names a server. Do it again when there are
new rows: only those are exported. pip install "svdsweep[mlflow]", "[wandb]" or
"[tensorboard]" brings the library. Live, while a sweep runs: runner.export=mlflow

examples:
  svdsweep export runs/motion --to mlflow
  svdsweep export runs/motion --to mlflow --into http://tracking.example:5000
  svdsweep export runs/motion --to vbench --into /tmp/vbench
"""


def main(argv: Sequence[str]) -> int:
    """Export and print what to run next; returns 0. Raises UserError."""
    parser = Parser("export", "Hand a sweep to another tool: a tracker, tables, or VBench.", TARGETS)
    add = parser.add_argument
    add("folder", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    add("--to", required=True, choices=[*TRACKERS, "csv", "vbench"], help="the tool")
    add(
        "--into",
        metavar="DIR",
        help="a folder, or MLflow's tracking URI (default: export/TO beside the sweep)",
    )
    asked = parser.asked(argv)
    print(visible(_exported(asked.folder, asked.to, asked.into)))
    return 0


def _exported(folder: Path, to: str, into: str | None) -> str:
    """Export, and say what to run next."""
    if to == "vbench":
        return _to_vbench(folder, into)
    if to == "csv":
        return _to_csv(folder, into)
    module, place = tracker(to), place_of(folder, to, into)
    return f"{export(folder, _rows(folder), to, into)}: {place}\nlook  {module.how_to_look(place)}"


def _to_vbench(folder: Path, into: str | None) -> str:
    from svdsweep.report import vbench

    if into is None:
        raise UserError("--to vbench needs --into DIR, an empty or new folder.")
    return "\n".join(vbench.export(folder, Path(into)))


def _to_csv(folder: Path, into: str | None) -> str:
    place = Path(place_of(folder, "csv", into))
    rows = _rows(folder)
    from svdsweep.export import csv  # pandas

    return "\n".join(map(str, csv.write(rows, place if into else place / folder.resolve().name)))


def _rows(folder: Path) -> list[Row]:
    """The rows that count. Raises UserError where there are none."""
    store = Store(folder)
    rows = list(store.rows().values()) if is_sweep(folder) else []
    warn(folder, store.faults)
    if not rows:
        raise UserError(f"{folder}: no row of a job is stored there. Give a sweep, runs/NAME.")
    return rows
