"""The page as one HTML file: template, style and script of this folder, everything from rows escaped by jinja2."""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from svdsweep.analysis.documentation import COMMAND
from svdsweep.report import prediction, svg, words
from svdsweep.report.page import Page, blind_spots, montage_line, settings_line

HERE = Path(__file__).parent


@cache
def environment() -> Any:
    """Where templates are found and what they may call; every text is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    made.trim_blocks = made.lstrip_blocks = True
    made.filters |= {f.__name__: f for f in (words.shown, words.change, words.difference, words.verdict)}
    made.filters |= {
        "url": lambda path: quote(str(path)),
        "sortable": words.text,
        "drawn": lambda plot: Markup(svg.inline(plot)),  # noqa: S704 (its texts are escaped)
    }
    return made


def html(page: Page) -> str:
    """The whole document; it names no address, only files beside it."""
    return document(
        "page.html.jinja",
        "parallel.js",
        page=page,
        sweep=page.sweep,
        memory_words=words.MEMORY_WORDS[page.sweep.memory_column],
        blind_spots=blind_spots(page),
        claims_command=COMMAND,
        montage=montage_line(page),
        command=settings_line(page.sweep),
        is_far=prediction.is_far,
        range_words=prediction.range_words,
    )


def document(template: str, *scripts: str, **values: Any) -> str:
    """A template of this folder with the common style and script, and more of its scripts."""
    from markupsafe import Markup

    ours = [(HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js", *scripts)]
    css, *js = map(Markup, ours)
    return str(environment().get_template(template).render(css=css, js=Markup("\n").join(js), **values))
