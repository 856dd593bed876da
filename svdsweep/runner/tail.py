"""Following the row files of a sweep as several writers append to them."""

import json
from collections.abc import Iterator
from pathlib import Path

from svdsweep.store import Row


class Tail:
    """What is new in `<folder>/rows/*.jsonl` since the last look; whole lines only. Of the file `but`, which the caller
    writes, only what is there at the first look."""

    def __init__(self, folder: Path, but: str = "") -> None:
        self.folder, self.but = folder / "rows", but
        self._at: dict[Path, int] = {}
        self._looked = False

    def new(self) -> Iterator[Row]:
        """The rows that have been added; damaged lines are passed over."""
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.name == self.but and self._looked:
                continue
            start = self._at.setdefault(path, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as f:
                f.seek(start)
                data = f.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._at[path] = start + len(whole)
            for line in whole.splitlines():
                try:
                    yield Row.from_plain(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    continue
        self._looked = True
