"""`svdsweep report`: the page `report.html`, `report.md` and its plots, from the rows of a sweep, at any time."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from svdsweep.schema import UserError


def main(argv: Sequence[str]) -> int:
    """Write the reports of the named sweeps; returns 0. Raises UserError for a folder that is none."""
    parser = argparse.ArgumentParser(
        prog="svdsweep report",
        description="Write report.html and report.md of sweeps, also while they run, and their tables anew.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="runs/NAME", help="the folder of a sweep")
    parser.add_argument("--json", action="store_true", help="the paths as one JSON document")
    asked = parser.parse_args(list(argv))
    pages = [write(folder) for folder in asked.folders]
    if asked.json:
        import json

        print(json.dumps({"reports": [str(page) for page in pages]}))
        return 0
    for page in pages:
        print(f"report   {page}  (and {page.with_suffix('.md').name})")
    return 0


def write(folder: Path) -> Path:
    """Write `report.html`, `report.md`, `plots/*.png` and `strategies.csv` and `.tex` into a sweep's folder; returns
    the page's path.

    Raises UserError when there is no such folder or it cannot be written to."""
    from svdsweep.analysis.opened import open_sweep
    from svdsweep.analysis.tidy import PRINTED, latex, strategy_table
    from svdsweep.media import renamed_when_done
    from svdsweep.report import markdown, svg
    from svdsweep.report.page import gather
    from svdsweep.report.render import html

    page = gather(open_sweep(folder))
    try:
        for plot in page.plots:
            svg.png(plot, folder / "plots" / f"{plot.name}.png")
        table = strategy_table(page.strategies)
        texts = {
            "strategies.csv": table.to_csv(index=False),
            "strategies.tex": latex(table, PRINTED),
            "report.md": markdown.text(page),
            "report.html": html(page),
        }
        for name, text in texts.items():
            with renamed_when_done(folder / name) as part:
                part.write_text(text, encoding="utf-8")
    except OSError as e:
        raise UserError(f"{folder}: the report cannot be written there ({e.strerror}).") from e
    for problem in page.sweep.problems:
        print(f"warning: {folder}: {problem}", file=sys.stderr)
    return folder / "report.html"
