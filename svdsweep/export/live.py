"""Rows exported while a sweep runs: by a thread, so that no job and no row waits for a tracker."""

import queue
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.export import connected, export, hand_over, place_of, told_by, tracker
from svdsweep.export.entries import Entries
from svdsweep.store.rows import Row

PATIENCE_S = 120.0
"""How long a tracker may take over a row, with its video, when all else is done."""


class Live:
    """A tracker that is open while a sweep runs. The first failure ends it with one warning, and not the sweep."""

    def __init__(
        self, folder: Path, jobs: Iterable[Job], to: str, into: str | None, say: Callable[[str], None]
    ) -> None:
        """Raises UserError where the tracker's library is missing; the tracker itself is opened by the thread."""
        tracker(to)
        self.folder, self.to, self.place = folder, to, place_of(folder, to, into)
        self._into, self._entries, self._say = into, Entries(folder, jobs), say
        self._rows: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"export to {to}", daemon=True)
        self._thread.start()

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows; each is exported on its way."""
        for row in rows:
            self._rows.put(row)
            yield row

    def close(self) -> None:
        """Wait until what was passed is exported, but for a tracker that takes not a row in `PATIENCE_S`."""
        self._rows.put(None)
        while self._thread.is_alive():
            left = self._rows.qsize()
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive() and self._rows.qsize() == left:
                self._warn(TimeoutError(f"{self.place} has taken no row in {PATIENCE_S:g} s"))
                return

    def complete(self, rows: Iterable[Row]) -> None:
        """Export what the tracker lacks of the sweep's rows: of earlier runs, of other drivers, and compared since."""
        if self._failed:
            return
        try:
            done = export(self.folder, rows, self.to, self._into)
        except UserError as e:
            self._warn(e)
        else:
            self._say(f"{self.to}: all {done.new + done.there} rows are in {self.place}")

    def _work(self) -> None:
        """Open the tracker at the first row, when the sweep has its manifest, and export until all was passed."""
        rows = iter(self._rows.get, None)
        try:
            for first in rows:
                with connected(self.folder, self.to, self._into) as target:
                    for row in chain([first], rows):
                        hand_over(target, self._entries.of(row))
        except Exception as e:  # a tracker's library may raise anything
            if not self._failed:
                self._warn(e)

    def _warn(self, e: Exception) -> None:
        self._failed = True
        words = ["svdsweep", "export", str(self.folder), "--to", self.to]
        words += ["--into", self._into] if self._into else []
        self._say(
            f"warning: the export to {self.to} has stopped, the sweep goes on: {told_by(e).rstrip('.')}. "
            f"`{shlex.join(words)}` brings what is missing."
        )


@contextmanager
def exporting(
    folder: Path, jobs: Iterable[Job], to: str | None, into: str | None, say: Callable[[str], None]
) -> Iterator[Live | None]:
    """A `Live`, or None where no tracker is asked for; whatever ends the sweep, rows that it stored are exported."""
    live = Live(folder, jobs, to, into, say) if to else None
    try:
        yield live
    finally:
        if live:
            live.close()
