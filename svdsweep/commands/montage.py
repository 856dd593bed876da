"""`svdsweep montage`: the videos of a sweep side by side, labelled and in step, as one file."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.commands.request import Parser
from svdsweep.errors import DONE, UserError
from svdsweep.terminal import visible, warn

if TYPE_CHECKING:
    from svdsweep.report.montage import Montage

CONDITION = re.compile(r"[A-Za-z_.]+=")
"""How SETTING=VALUE begins; a file's name hardly does."""
EPILOG = """\
An axis takes one setting or several (image,seed). Clips run by their own rates
in the montage's time, which has the highest of them; with --fps N all go frame
by frame. One that is shorter holds its last frame. A job without a video shows
its status. A .png is a sheet of some frames.

examples:
  svdsweep montage runs/showdown --rows memory --columns motion_bucket_id --where seed=0 out.mp4
  svdsweep montage runs/showdown --rows memory --columns seed --difference --cell 320 out.webp
  svdsweep montage runs/showdown --under total_s,vram_allocated_peak_gib --frames 0,24 out.png
"""


def main(argv: Sequence[str]) -> int:
    """Write the montage and say where it is; returns 0. Raises UserError."""
    asked = parser().asked(argv)
    words = [*asked.words, *asked.where]
    where = [word for word in words if CONDITION.match(word)]
    paths = [Path(word) for word in words if not CONDITION.match(word)]
    if not 1 <= len(paths) <= 2:
        raise UserError(
            "svdsweep montage takes the folder of a sweep and the file to write, as in `svdsweep montage runs/NAME "
            f"out.mp4`; {len(paths)} names were given{': ' if paths else ''}{', '.join(map(str, paths))}."
        )
    folder = paths[0]

    from svdsweep.analysis.sweep import open_sweep
    from svdsweep.report import montage

    target = paths[1] if len(paths) > 1 else folder / montage.files.NAMES[0]
    montage.files.check_kind(target)
    sweep = open_sweep(folder)
    warn(folder, *sweep.problems)
    beside = ["baseline", "difference"] if asked.difference else ["baseline"] if asked.baseline else []
    wish = montage.Wish(
        rows=asked.rows,
        columns=asked.columns,
        where=where,
        under=asked.under.split(",") if asked.under else [],
        beside=beside,
        cell=asked.cell,
        width=asked.width,
        fps=asked.fps,
        frames=_numbers(asked.frames),
    )
    made = montage.write(sweep, target, wish)
    print(visible(told(made)))
    if made.without:
        lost = ", ".join(f"{count} {words}" for words, count in made.without.items())
        print(visible(f"cells without a video: {lost}"), file=sys.stderr)
    return DONE


def parser() -> Parser:
    """The arguments of `svdsweep montage`."""
    p = Parser(
        "montage",
        "The videos of a sweep as one video that plays everywhere: rows and columns by its settings, labelled and in "
        "step.",
        EPILOG,
    )
    add = p.add_argument
    add(
        "words",
        nargs="*",
        metavar="runs/NAME [OUT]",
        help="the folder of a sweep, and the file to write: .mp4, .webp, .gif or .png (default: montage.mp4 in "
        "the sweep's folder, where its page shows it)",
    )
    add("--rows", metavar="A,B", help="settings down the side (default: the next that varies, seeds last)")
    add(
        "--columns",
        metavar="A,B",
        help="settings along the top (default: memory, else the first that varies)",
    )
    where = "keep these jobs only; seed=0,1 keeps both"
    add("--where", nargs="+", action="extend", default=[], metavar="SETTING=VALUE", help=where)
    add("--under", metavar="A,B", help="columns whose values stand below each cell, as in total_s")
    p.add_flag("--baseline", "the baseline's video beside each")
    p.add_flag("--difference", "the baseline's video and the difference from it, × 8, beside each")
    size = "px a clip is wide (default: 256, or what keeps the whole within 1920 × 1920)"
    add("--cell", type=int, metavar="PX", help=size)
    add("--width", type=int, metavar="PX", help="px that the whole is wide, instead of --cell")
    add(
        "--fps",
        type=int,
        choices=range(1, 51),
        metavar="N",
        help="show every clip frame by frame, N a second",
    )
    add("--frames", metavar="A,B", help=".png: these frames, from 0 (default: the first, middle and last)")
    return p


def _numbers(text: str | None) -> list[int] | None:
    """The numbers of `--frames`. Raises UserError."""
    try:
        return None if text is None else [int(number) for number in text.split(",")]
    except ValueError as e:
        raise UserError(f"--frames {text}: give numbers of frames, from 0, as in --frames 0,12,24.") from e


def told(made: "Montage") -> str:
    """What was written, in a line."""
    (width, height), (rows, columns) = made.size, made.cells
    plays = f", {made.frames} frames at {made.fps} a second" if made.frames > 1 else ""
    size = made.path.stat().st_size / 1e6
    return f"montage  {made.path}  ({rows} × {columns} cells{plays}, {width}×{height} px, {size:.2g} MB)"
