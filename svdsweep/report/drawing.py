"""What a plot is, and how all of them look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svdsweep.terminal import on_one_line

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C7AE6")
"""Okabe and Ito's, told apart by colour-blind readers, without black and yellow, which vanish on one of two grounds."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx")
INK, FAINT = "#010203", "#010204"
"""Near-black for paper; the page turns both into the colour of its text."""
INKED = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "axes.titlesize": 9.5,
    **dict.fromkeys(INKED, INK),
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold a dollar
    "svg.hashsalt": "svdsweep",
    "figure.dpi": 100,
}
NAME_AT_MOST = 80
"""Characters of a name that are drawn."""
Looks = Mapping[str, Mapping[str, Any]]
"""The colour and marker of each strategy."""


@dataclass(frozen=True)
class Plot:
    """A figure, what it shows in a sentence, and by their `gid` the tooltips of its parts and whose jobs they show."""

    name: str
    title: str
    caption: str
    figure: Figure
    tips: Mapping[str, str] = field(default_factory=dict)
    of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The values of settings that the jobs of a part have in common, by its `gid`: the page fades parts without a job
    inside its brushes."""

    @property
    def wide(self) -> bool:
        """Whether it needs the page's whole width."""
        width, height = self.figure.get_size_inches()
        return bool(width > 8 and width > 2 * height)


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each strategy, the same on every plot of a page."""
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}
        for i, name in enumerate(names)
    }


def draw(width_in: float, height_in: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure, without the global state of pyplot."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def literal(name: str) -> str:
    """A name from anywhere as a plot shows it: short, on one line, and whole (a legend leaves out what begins with a
    low line)."""
    text = on_one_line(name)
    short = text if len(text) <= NAME_AT_MOST else f"{text[: NAME_AT_MOST - 1]}…"
    return short if short and short[0] != "_" else f" {short}"


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Label lines from the top down, as they are read."""
    axes.set_yticks(range(len(names)), ["\n".join(map(literal, name.split("\n", 1))) for name in names])
    axes.invert_yaxis()
