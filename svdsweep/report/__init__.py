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
    parser.add_argument(
        "--predict",
        action="store_true",
        help="first predict the VRAM of measured settings that were not predicted yet: seconds a strategy, no GPU",
    )
    asked = parser.parse_args(list(argv))
    pages = [write(folder, asked.predict) for folder in asked.folders]
    if asked.json:
        import json

        print(json.dumps({"reports": [str(page) for page in pages]}))
        return 0
    for page in pages:
        print(f"report   {page}  (and {page.with_suffix('.md').name})")
    return 0


def write(folder: Path, predict: bool = False) -> Path:
    """Write `report.html`, `report.md`, `plots/*.png` and `strategies.csv` and `.tex` into a sweep's folder; returns
    the page's path. Where measured VRAM meets predictions, also `predictions.csv` and `calibration.json`: predictions
    of the cache, and with `predict` all that can be made (torch is imported).

    Raises UserError when there is no such folder or it cannot be written to."""
    from svdsweep.analysis.opened import open_sweep
    from svdsweep.analysis.prediction import comparison
    from svdsweep.analysis.tidy import PRINTED, latex, strategy_table
    from svdsweep.media import renamed_when_done
    from svdsweep.predict import calibration
    from svdsweep.predict.predictions import outcomes, processes_here
    from svdsweep.report import markdown, svg
    from svdsweep.report.page import gather
    from svdsweep.report.prediction import write_table
    from svdsweep.report.render import html

    sweep = open_sweep(folder)
    if predict:
        outcomes(comparison(sweep).unpredicted, processes=processes_here())
    page = gather(sweep)
    try:
        if page.prediction:
            calibration.write(folder, page.prediction.compared.calibrations)
            write_table(folder, page.prediction)
        for plot in [
            *page.plots,
            *([page.prediction.plot] if page.prediction and page.prediction.plot else []),
        ]:
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
