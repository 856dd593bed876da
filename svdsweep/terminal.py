"""How a table, a cell, a count and a warning look on a terminal; plain text, no libraries."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svdsweep.store.kinds import Scalar
from svdsweep.store.rows import STATUSES, Row

LINES = 60
"""A longer table is cut; all of it is in the files."""
SHORT = {"vram_allocated_peak_gib": "vram_gib", "host_ram_peak_gib": "ram_gib", "decode_chunk_size": "chunk"}


def table(header: Sequence[str], lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Columns padded to their widest cell, two blanks apart; one longer than `LINES` says how much it leaves out."""
    shown = lines[:LINES]
    widths = [max(len(line[i]) for line in [header, *shown]) for i in range(len(header))]
    text = []
    for line in [header, *shown]:
        cells = zip(line, widths, right, strict=True)
        text.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip())
    if len(lines) > len(shown):
        text.append(f"… and {len(lines) - len(shown)} more")
    return "\n".join(text)


def warn(folder: Path, *sentences: object) -> None:
    """Print what is wrong with a sweep on standard error; empty sentences say nothing."""
    for sentence in filter(None, map(str, sentences)):
        print(f"warning: {folder}: {sentence}", file=sys.stderr, flush=True)


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
    return "\n".join(
        f"{status}{f' in {phase}' if phase else ''}: {reason}  ({', '.join(keys[:3])}"
        f"{f' and {len(keys) - 3} more' if len(keys) > 3 else ''})"
        for (status, phase, reason), keys in reasons.items()
    )


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
