"""Text in a montage: measured, broken into lines, shortened with its beginning kept."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from svdsweep.terminal import on_one_line

FILES = {"plain": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
"""Matplotlib brings them: Latin, Greek, Cyrillic, Arabic and more, the same on every machine."""
PIECES = re.compile(r"\s+|[^\s_/,=+.\-]+[_/,=+.\-]*|[_/,=+.\-]+")
"""Where a line may be broken: at blanks, and behind what joins the words of a name."""
LONGEST = 300
"""Characters of a text that are looked at."""


@dataclass(frozen=True)
class Lettering:
    """A font at a size in px."""

    weight: Literal["plain", "bold"]
    size: int

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        """As Pillow draws it."""
        return _font(self.weight, self.size)

    @property
    def line_px(self) -> int:
        """From one line to the next."""
        return round(self.size * 1.3)

    def legible(self, text: str) -> str:
        """The text, characters that the font lacks as escapes: two names stay apart."""
        told, there = on_one_line(text[:LONGEST]), _characters(self.weight)
        return "".join(c if ord(c) in there else c.encode("unicode_escape").decode("ascii") for c in told)

    def width(self, text: str) -> float:
        """In px."""
        return self.font.getlength(text)

    def shortened(self, text: str, width: float) -> str:
        """The beginning of a text that fits into `width` px, with `…` for the rest."""
        if self.width(text) <= width:
            return text
        return text[: self._fitting(text, width - self.width("…"))].rstrip() + "…"

    def lines(self, text: str, width: float, at_most: int) -> list[str]:
        """A text in lines of at most `width` px; the last one of `at_most` ends in `…` where there is more."""
        rest, lines = self.legible(text).strip(), list[str]()
        while rest and len(lines) < at_most - 1:
            taken = self._taken(rest, width)
            lines.append(rest[:taken].rstrip())
            rest = rest[taken:].lstrip()
        return [*lines, self.shortened(rest, width)] if rest else lines

    def _taken(self, text: str, width: float) -> int:
        """How many characters the first line takes: whole pieces, else what fits of the first, at least one."""
        taken = 0
        for piece in PIECES.finditer(text):
            if self.width(text[: piece.end()].rstrip()) > width:
                break
            taken = piece.end()
        if taken:
            return taken
        return max(1, self._fitting(text, width))

    def _fitting(self, text: str, width: float) -> int:
        """How many of its first characters fit into `width` px."""
        return max(0, bisect_right(range(len(text) + 1), width, key=lambda n: self.width(text[:n])) - 1)


@cache
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_file(weight)), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _characters(weight: str) -> frozenset[int]:
    """What a font has glyphs for."""
    return frozenset(FT2Font(str(_file(weight))).get_charmap())


def _file(weight: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FILES[weight]
