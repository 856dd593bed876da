"""`svdsweep seeds`: what the seeds and images of a sweep say together, and one setting against another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.commands.request import Parser
from svdsweep.errors import UserError, nearest
from svdsweep.store.files import absolute, write_asked
from svdsweep.store.labels import short_paths
from svdsweep.terminal import warn

if TYPE_CHECKING:
    import pandas as pd

SHOWN_OF_SPREAD = ("n", "mean", "std", "low", "high")
SHOWN_OF_PAIRS = ("metric", "n", "mean", "low", "high", "p_holm", "smallest_p", "verdict")


def main(argv: Sequence[str]) -> int:
    """Print the table; returns 0. Raises UserError for a folder, setting, value or metric that is not there."""
    parser = Parser(
        "seeds",
        "Mean, spread and 95 % interval of every metric over the seeds and images of each cell of a grid; "
        "with --pair, what one value of a setting changes against another over the same image and seed.",
    )
    parser.add_argument("folder", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    about_pair = "differences B − A, as in memory=baseline,chunked_decode or motion_bucket_id=60,180"
    parser.add_argument("--pair", metavar="SETTING=A,B", help=about_pair)
    parser.add_argument("--metrics", metavar="A,B", help="these only, as in motion_px,mc_flicker_255")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the whole table to a file")
    parser.add_json()
    asked = parser.asked(argv)

    from svdsweep.analysis.files import inert
    from svdsweep.analysis.seeds import Spread, over_seeds, paired_differences
    from svdsweep.analysis.sweep import open_sweep

    sweep = open_sweep(asked.folder)
    warn(asked.folder, sweep.faults)
    results = sweep.table
    metrics = asked.metrics.split(",") if asked.metrics else None
    if asked.pair:
        table = paired_differences(results, *pair(asked.pair, results), metrics)
        columns = list(SHOWN_OF_PAIRS)
    else:
        table = over_seeds(results, metrics)
        cell = [str(name) for name in table if name not in Spread.__dataclass_fields__]
        columns = [*cell, *SHOWN_OF_SPREAD]
    if asked.csv:
        write_asked(asked.csv, inert(table).to_csv(index=False, lineterminator="\n"))
    print(table.to_json(orient="records", indent=1) if asked.json else text(table, columns))
    return 0


def pair(words: str, results: "pd.DataFrame") -> tuple[str, Any, Any]:
    """`SETTING=A,B` as the setting and its two values in a sweep. Raises UserError for what the sweep does not have."""
    setting, _, values = words.partition("=")
    parts = values.split(",")
    splits = [(",".join(parts[:n]), ",".join(parts[n:])) for n in range(1, len(parts))]
    if not all(parts) or not splits:
        raise UserError(
            f"--pair={words} is not of the form SETTING=A,B, as in memory=baseline,chunked_decode."
        )
    if setting not in results:
        raise UserError(f"{setting} is no column of this sweep.{nearest(setting, map(str, results.columns))}")
    there = {str(value): value for value in results[setting].dropna().unique()}
    choices = there | {tail: there[path] for path, tail in zip(there, short_paths(list(there)), strict=True)}
    found = [tuple(_as_there(value, choices) for value in split) for split in splits]
    for one, other in found:  # a value may have a comma in it
        if one is not None and other is not None:
            return setting, one, other
    wrong = splits[0][found[0][0] is not None]
    raise UserError(
        f"No job of this sweep has {setting}={wrong}: there are {', '.join(there)}.{nearest(wrong, choices)}"
    )


def _as_there(typed: str, choices: Mapping[str, Any]) -> Any:
    """The value that was typed, as it stands in the sweep; also a path, as from here. None where there is none."""
    return choices.get(typed, choices.get(absolute(typed)))


def text(table: "pd.DataFrame", columns: Sequence[str]) -> str:
    """Those columns of a table as the terminal shows them."""
    from svdsweep import terminal

    if table.empty:
        return "No finished job has a metric."
    lines = [
        [terminal.cell(None if value != value else value) for value in line]
        for line in table[list(columns)].astype(object).itertuples(index=False)
    ]
    numbers = [table[name].dtype.kind in "if" for name in columns]
    return terminal.table(columns, lines, numbers)
