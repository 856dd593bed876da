"""The file that `svdsweep predict --over-time` writes: memory over time, without a sweep."""

from collections.abc import Sequence
from pathlib import Path

from svdsweep.errors import UserError
from svdsweep.report import svg
from svdsweep.report.memory_plot import Panel, over_time
from svdsweep.report.over_time import HEADER, RIGHT, cells
from svdsweep.report.render import document
from svdsweep.store.files import write_asked


def write(path: Path, panels: Sequence[Panel], card: tuple[str, float] | None) -> None:
    """Write the plot, as the name's ending asks: a page, SVG or PNG. Raises UserError where that cannot be."""
    plot = over_time(panels, card)
    if plot is None:
        raise UserError(f"{path} is not written: nothing of what was asked for can be predicted.")
    if path.suffix.lower() == ".html":
        lines = [cells(panel.title, panel.prediction) for panel in panels if panel.is_told]
        notes = sorted({note for panel in panels for note in panel.prediction.notes})
        facts = {"plot": plot, "header": HEADER, "right": RIGHT, "lines": lines, "notes": notes}
        write_asked(path, document("over_time.html.jinja", title=plot.title, **facts))
    elif path.suffix.lower() == ".svg":
        write_asked(path, svg.alone(plot))
    else:
        try:
            svg.png(plot, path)
        except OSError as e:
            raise UserError(f"{path} cannot be written ({e.strerror}).") from e
