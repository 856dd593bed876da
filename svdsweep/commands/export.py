"""`svdsweep export`: a sweep handed to another tool."""

from collections.abc import Sequence
from pathlib import Path

from svdsweep.commands.request import Parser
from svdsweep.report import vbench
from svdsweep.terminal import visible


def main(argv: Sequence[str]) -> int:
    """Export and print what to run next; returns 0. Raises UserError."""
    parser = Parser("export", "Hand the videos of a sweep to a tool that judges or shows them.")
    add = parser.add_argument
    add("folder", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    add("--to", required=True, choices=["vbench"], help="vbench: laid out and named for VBench-I2V")
    add("--into", required=True, type=Path, metavar="DIR", help="an empty or new folder")
    asked = parser.asked(argv)
    print(visible("\n".join(vbench.export(asked.folder, asked.into))))
    return 0
