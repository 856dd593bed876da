"""What was exported to a tracker that cannot be asked: a line a row, written when the row is there as a whole."""

import re
from pathlib import Path

from svdsweep.export.contract import Entry, Origin
from svdsweep.store.places import is_plain

LINE = re.compile(r"(\w+) (\w+) ([\w=+.-]+)")
"""Key, version, and the name of a run, which is a file's and no path."""


class Ledger:
    """The exported rows of a sweep: `<folder>/<sweep>.exported.txt`, append-only."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        self._path = folder / f"{safe(origin.name)}.exported.txt"
        self._runs: dict[str, tuple[str, str]] = {}
        """Version and name of the run of each key."""
        if is_plain(self._path):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                if told := LINE.fullmatch(line):  # whoever wrote it may have died in mid-line
                    self._runs[told[1]] = told[2], told[3]

    def has(self, entry: Entry) -> bool:
        """Whether this version of a row was exported last."""
        return self._runs.get(entry.key, ("", ""))[0] == entry.version

    def run_of(self, entry: Entry) -> str:
        """The run that holds the job's row, an older version maybe; empty where there is none."""
        return self._runs.get(entry.key, ("", ""))[1]

    def note(self, entry: Entry, run: str) -> None:
        """Note that a row was exported, as the run of that name."""
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{entry.key} {entry.version} {run}\n")
        self._runs[entry.key] = entry.version, run


def safe(text: str) -> str:
    """Text as the name of a file or folder on every system."""
    kept = "".join(c if c.isalnum() or c in "=+-_" or (c == "." and i) else "_" for i, c in enumerate(text))
    return kept[:100].rstrip(".") or "_"
