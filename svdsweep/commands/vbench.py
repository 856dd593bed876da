"""`svdsweep score --vbench`: what VBench-I2V found of an exported sweep, brought to the rows of that sweep."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svdsweep.errors import DONE, UserError, some
from svdsweep.runner.leases import is_run_now
from svdsweep.store.manifest import sweeps_in
from svdsweep.store.places import refuse_links
from svdsweep.store.rows import Row, Store
from svdsweep.store.vbench import COLUMNS, Joined, join
from svdsweep.terminal import cell, table, visible, warn


def join_vbench(folders: Sequence[Path], files: Sequence[Path], as_json: bool) -> int:
    """Bring VBench's results to the rows of a sweep, or of the one under runs/ that has the jobs where none is named.
    Returns the exit code. Raises UserError."""
    if len(folders) > 1:
        raise UserError("--vbench brings results to one sweep: name one folder, runs/NAME, before it.")
    folder, rows, joined = judged_sweep(folders or sweeps_under(Path("runs")), files)
    if is_run_now(folder):
        raise UserError(
            f"{folder} is running now, and would write over what is joined: wait until it is done."
        )
    from svdsweep.analysis.vbench import bring  # pandas, only when there is something to write

    outcome = outcome_of(folder, rows, joined, bring(folder, rows, joined))
    print(json.dumps(outcome, indent=1) if as_json else visible(in_words(outcome)))
    return DONE


def sweeps_under(runs: Path) -> list[Path]:
    """The sweeps in a folder; none where there is no such folder."""
    return sweeps_in(runs) if runs.is_dir() else []


def judged_sweep(folders: Sequence[Path], files: Sequence[Path]) -> tuple[Path, dict[str, Row], Joined]:
    """The one of some sweeps that has the jobs of the judged videos, its rows, and the scores. Raises UserError."""
    rows = {folder: rows_of(folder) for folder in folders}
    joined = {folder: join(files, set(rows[folder])) for folder in folders}
    having = [folder for folder in folders if joined[folder].columns]
    if len(having) == 1:
        return having[0], rows[having[0]], joined[having[0]]
    where = some([str(folder) for folder in having or folders], 3) or "runs"
    what = "more than one sweep has" if having else "no row here is of"
    raise UserError(
        f"{where}: {what} the jobs of these videos. Name the sweep that was exported: `svdsweep score runs/NAME "
        "--vbench RESULTS`."
    )


def rows_of(folder: Path) -> dict[str, Row]:
    """The rows of a sweep by key; what cannot be read is told on standard error. Raises UserError where links are."""
    refuse_links(folder)
    store = Store(folder)
    rows = store.rows()
    warn(folder, store.faults)
    return rows


def outcome_of(folder: Path, rows: Mapping[str, Row], joined: Joined, new: int) -> dict[str, Any]:
    """What became of VBench's results, as JSON has it."""
    without = [key for key, row in rows.items() if row.status == "ok" and key not in joined.columns]
    return {
        "sweep": str(folder),
        "joined": joined.columns,
        "new_rows": new,
        "videos_of_no_row": joined.unmatched,
        "rows_without": without,
        "other_dimensions": joined.other_dimensions,
    }


def in_words(outcome: Mapping[str, Any]) -> str:
    """The same, with the mean of each dimension over the rows."""
    scores = [column for columns in outcome["joined"].values() for column in columns.items()]
    lines = []
    for column in COLUMNS:
        values = [value for name, value in scores if name == column.name]
        if values:
            figures = [cell(sum(values) / len(values)), cell(min(values)), cell(max(values))]
            lines.append([column.name, str(len(values)), *figures, column.better or ""])
    said = [
        f"{outcome['sweep']}: {len(outcome['joined'])} rows have VBench's scores, {outcome['new_rows']} of them new."
    ]
    said += [table(["metric", "rows", "mean", "least", "most", "better"], lines, [False, *[True] * 4, False])]
    if outcome["videos_of_no_row"]:
        names = outcome["videos_of_no_row"]
        said.append(f"{len(names)} videos are of no row here: {some(names, 5)}.")
    if outcome["rows_without"]:
        said.append(
            f"{len(outcome['rows_without'])} finished rows have none: {some(outcome['rows_without'], 5)}."
        )
    if outcome["other_dimensions"]:
        said.append(
            f"Passed by, for they judge no image-to-video without a text: {some(outcome['other_dimensions'], 5)}."
        )
    return "\n".join([*said, f"`svdsweep report {outcome['sweep']}` draws them."])
