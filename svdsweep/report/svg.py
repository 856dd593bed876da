"""A matplotlib figure as SVG inside a page: its ink follows the page's colour, and its parts carry tooltips."""

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from svdsweep.report.drawing import FAINT, INK, STYLE, Plot
from svdsweep.store.files import renamed_when_done

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


def inline(plot: Plot) -> str:
    """`<svg>` markup; every text is escaped by the serializer, ids are the plot's own."""
    import matplotlib

    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    raw = io.StringIO()
    with matplotlib.rc_context(STYLE):
        plot.figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    of = {gid: json.dumps(settings, default=np.generic.item) for gid, settings in plot.of.items()}
    root = ET.fromstring(raw.getvalue())  # noqa: S314 (our own figure, not foreign XML)
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        if element.get("id") in of:
            element.set("data-of", of[element.attrib["id"]])
        tip = plot.tips.get(element.get("id", ""))
        if tip is not None:
            title = ET.Element(f"{{{SVG}}}title")
            title.text = tip
            element.insert(0, title)
            element.attrib |= {"class": "tip", "tabindex": "0", "role": "img", "aria-label": tip}
    width = float(root.attrib.pop("width", "0pt").removesuffix("pt"))
    root.attrib.pop("height", None)
    root.attrib |= {"style": f"max-width:{width * 1.33:.0f}px", "role": "group", "aria-label": plot.title}
    # the two inks of the style become the colour of the page's text, in light and dark
    markup = re.sub(f"{INK}|{FAINT}", "currentColor", ET.tostring(root, encoding="unicode"))
    return _own_ids(_rounded(markup), plot.name)


def alone(plot: Plot) -> str:
    """The figure on white as a file of its own."""
    import matplotlib

    raw = io.StringIO()
    with matplotlib.rc_context(STYLE):
        plot.figure.savefig(raw, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return _rounded(raw.getvalue())


def png(plot: Plot, path: Path) -> None:
    """The figure on white, for Markdown. Its parts stay where they are then, in the page too."""
    import matplotlib

    with renamed_when_done(path) as part, matplotlib.rc_context(STYLE):
        plot.figure.savefig(part, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    plot.figure.set_layout_engine("none")  # to lay it out is half of what drawing it takes


def _rounded(markup: str) -> str:
    """Paths to a hundredth of a point, which nobody sees, at half the size."""
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), markup)


def _own_ids(markup: str, name: str) -> str:
    """Definitions of several figures in one page must not share an id."""
    ids = set(re.findall(r'\bid="([^"]+)"', markup))
    uses = r'(\bid="|href="#|url\(#)([^")]+)'
    return re.sub(uses, lambda m: f"{m[1]}{name}-{m[2]}" if m[2] in ids else m[0], markup)
