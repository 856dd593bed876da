"""How a table, a cell, a count and a warning look on a terminal; plain text, no libraries."""

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svdsweep.errors import some
from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import STATUSES, Row

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Characters that a terminal obeys instead of showing them, or that turn the order of the others about."""
LINES = 60
"""A longer table is cut; all of it is in the files."""
SHORT = {"vram_allocated_peak_gib": "vram_gib", "host_ram_peak_gib": "ram_gib", "decode_chunk_size": "chunk"}


def table(header: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[bool], more: int = 0) -> str:
    """Columns padded to their widest cell, two blanks apart; one longer than `LINES` says how much it leaves out, with
    the `more` lines that the caller has left out."""
    shown = [[on_one_line(c) for c in line] for line in [header, *lines[:LINES]]]
    widths = [max(len(line[i]) for line in shown) for i in range(len(header))]
    text = []
    for line in shown:
        cells = zip(line, widths, right, strict=True)
        text.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip())
    if left_out := max(0, len(lines) - LINES) + more:
        text.append(f"… and {left_out} more")
    return "\n".join(text)


def visible(text: object) -> str:
    """Text from anywhere, with what a terminal would obey (ESC, BEL, CR, overrides of direction) as escapes."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def on_one_line(text: object) -> str:
    """`visible` text, the ends of its lines as escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def warn(folder: Path, *sentences: object) -> None:
    """Print what is wrong with a sweep on standard error; empty sentences say nothing."""
    for sentence in filter(None, map(str, sentences)):
        print(visible(f"warning: {folder}: {sentence}"), file=sys.stderr, flush=True)


def counts(rows: Sequence[Row], todo: int = 0, impossible: int = 0) -> str:
    """How many jobs there are of each status: `12 ok, 1 oom, 3 to do, 2 impossible`."""
    ended = Counter(row.status for row in rows)
    parts = [f"{ended[status]} {status}" for status in STATUSES if ended[status]]
    waiting = [f"{n} {word}" for n, word in ((todo, "to do"), (impossible, "impossible")) if n]
    return ", ".join([*parts, *waiting]) or "nothing yet"


def troubles(rows: Sequence[Row]) -> str:
    """The reasons of what did not end well, each once, with the jobs that it befell."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.status != "ok":
            last = row.error.strip().splitlines()[-1] if row.error.strip() else "no reason given"
            reasons.setdefault((row.status, row.phase, last), []).append(row.key)
    lines = (
        f"{status}{f' in {phase}' if phase else ''}: {reason}  ({some(keys, 3)})"
        for (status, phase, reason), keys in reasons.items()
    )
    return "\n".join(map(on_one_line, lines))


def cell(value: Scalar) -> str:
    """A value as a table shows it: three or four digits are enough to compare, and unknown is a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_number(tables: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a column holds numbers only: such columns are set to the right."""
    return all(isinstance(t.get(name), int | float) for t in tables)
