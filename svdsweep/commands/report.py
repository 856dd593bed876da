"""`svdsweep report`: the page and the Markdown report of sweeps, also while they run."""

import json
from collections.abc import Sequence
from pathlib import Path

from svdsweep import report
from svdsweep.commands.request import Parser
from svdsweep.terminal import visible


def main(argv: Sequence[str]) -> int:
    """Write the reports of the named sweeps; returns 0. Raises UserError for a folder that is none."""
    parser = Parser("report", "Write report.html and report.md of sweeps, also while they run.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    parser.add_json("the paths as one JSON document")
    parser.add_flag(
        "--predict",
        "first predict the VRAM of measured settings and of each strategy that were not predicted yet: seconds a "
        "strategy, no GPU",
    )
    asked = parser.asked(argv)
    pages = [report.write(folder, asked.predict) for folder in asked.folders]
    lines = [f"report   {page}  (and {page.with_suffix('.md').name})" for page in pages]
    print(json.dumps({"reports": [str(page) for page in pages]}) if asked.json else visible("\n".join(lines)))
    return 0
