"""`svdsweep export`: a sweep handed to another tool."""

from collections.abc import Sequence
from pathlib import Path

from svdsweep.commands.request import Parser
from svdsweep.report import vbench


def main(argv: Sequence[str]) -> int:
    """Export and print what to run next; returns 0. Raises UserError."""
    parser = Parser("export", "Hand the videos of a sweep to a tool that judges or shows them.")
    parser.add_argument("folder", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    parser.add_argument(
        "--to", required=True, choices=["vbench"], help="vbench: laid out and named for VBench-I2V"
    )
    parser.add_argument("--into", required=True, type=Path, metavar="DIR", help="an empty or new folder")
    asked = parser.asked(argv)
    for command in vbench.export(asked.folder, asked.into):
        print(command)
    return 0
