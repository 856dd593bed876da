"""The last lines of a process's log."""

from pathlib import Path

from svdsweep.store.secrets import masked

BYTES = 16_000


def tail(log: Path, lines: int, since: int = 0) -> str:
    """The last lines that are not empty, as a terminal would show them, secrets masked.

    Of a line that was written over by carriage returns, as progress bars do, only the last state is shown.
    `since` is the byte from which on it is read."""
    with log.open("rb") as f:
        f.seek(max(since, log.stat().st_size - BYTES))
        text = f.read().decode("utf-8", "replace")
    shown = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n") if line.strip()]
    return masked("\n".join(shown[-lines:]))
