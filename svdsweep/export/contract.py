"""What a tracker is given of a sweep, and what each file of this folder gives in return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from svdsweep.store.kinds import Scalar


@dataclass(frozen=True)
class Origin:
    """The sweep that is exported."""

    name: str
    folder: Path
    tags: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """A row as trackers want it. What is not known is left out of it, never 0."""

    key: str
    version: str
    """Changes with whatever the row says: a job that was run or judged again is exported again."""
    name: str
    """What sets the job apart in its sweep: `memory=vae_slicing, seed=3`."""
    status: str
    whole: bool
    """Whether the run came to its end; trackers show the others as failed."""
    began: datetime
    took_s: float
    """Seconds of all that is known to have taken some: loading, compiling, warm-up, timed runs, judging."""
    settings: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    series: Mapping[str, Sequence[tuple[int, float]]]
    """Steps and values by name; one series a timed run where each run has several values."""
    tags: Mapping[str, str]
    """How it ended, where it ran, and every value that is no number."""
    notes: str
    """The error and the notes, in Markdown; empty where there are none."""
    files: Sequence[Path]
    """The video and the contact sheet, as far as they are there."""


class Target(Protocol):
    """One sweep in a tracker that is open."""

    def has(self, entry: Entry) -> bool:
        """Whether this very version of the job's row was exported whole."""
        ...

    def add(self, entry: Entry) -> None:
        """Export a row as a run of its own, and mark or remove what an older version of it left."""
        ...

    def close(self) -> None:
        """Write what is buffered, and let go."""
        ...


class Tracker(Protocol):
    """A module of this folder that `--to` names."""

    def connect(self, origin: Origin, into: str) -> Target:
        """Open `into`, which is made where it is missing."""
        ...

    def how_to_look(self, into: str) -> str:
        """The command that shows what was exported."""
        ...
