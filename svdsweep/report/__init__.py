"""The page `report.html`, `report.md` and their plots, from the rows of a sweep, at any time."""

from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.errors import UserError
from svdsweep.terminal import warn

if TYPE_CHECKING:
    from svdsweep.analysis.sweep import Sweep


def write(folder: Path, predict: bool = False, sweep: "Sweep | None" = None) -> Path:
    """Write `report.html`, `report.md`, `plots/*.png` and `strategies.csv` and `.tex` into a sweep's folder; returns
    the page's path. Where measured VRAM meets predictions, also `predictions.csv` and `calibration.json`: predictions
    of the cache, and with `predict` those of measured settings and one of each strategy (torch is imported). `sweep`
    is what the folder holds, if the caller has read it.

    Raises UserError when there is no such folder or it cannot be written to."""
    from svdsweep.analysis.files import inert
    from svdsweep.analysis.strategy_table import PRINTED, latex, strategy_table
    from svdsweep.analysis.sweep import open_sweep
    from svdsweep.predict import calibration
    from svdsweep.report import markdown, svg
    from svdsweep.report.page import gather
    from svdsweep.report.render import html
    from svdsweep.store.files import renamed_when_done
    from svdsweep.store.places import refuse_links

    refuse_links(folder)
    sweep = sweep or open_sweep(folder)
    if predict:
        _predict(sweep)
    page = gather(sweep)
    try:
        if page.prediction:
            calibration.write(folder, page.prediction.compared.calibrations)
        sections = [section.plot for section in (page.prediction, page.over_time, page.pick) if section]
        for plot in filter(None, [*page.plots, *sections]):
            svg.png(plot, folder / "plots" / f"{plot.name}.png")
        table = strategy_table(page.strategies)
        texts = {
            "strategies.csv": inert(table).to_csv(index=False, lineterminator="\n"),
            "strategies.tex": latex(table, PRINTED),
            "report.md": markdown.text(page),
            "report.html": html(page),
        }
        if page.prediction and not page.prediction.compared.table.empty:
            compared = inert(page.prediction.compared.table)
            texts["predictions.csv"] = compared.to_csv(index=False, lineterminator="\n")
        for name, text in texts.items():
            with renamed_when_done(folder / name) as part:
                part.write_text(
                    text, encoding="utf-8", errors="replace", newline="\n"
                )  # names of files may be no UTF-8
    except OSError as e:
        raise UserError(f"{folder}: the report cannot be written there ({e.strerror}).") from e
    warn(folder, *page.sweep.problems)
    return folder / "report.html"


def _predict(sweep: "Sweep") -> None:
    """Predict what the page lacks: measured settings, and one of each strategy."""
    from svdsweep.analysis.prediction import comparison
    from svdsweep.predict.batch import outcomes, processes_here
    from svdsweep.report.over_time import representatives

    jobs = {job.key: job for job in [*comparison(sweep).unpredicted, *representatives(sweep)]}
    outcomes(jobs.values(), processes=processes_here())
