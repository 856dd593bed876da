"""What did not end well: each reason once, with its jobs, and the tails of the logs."""

from dataclasses import dataclass
from pathlib import Path

from svdsweep.analysis.sweep import Sweep
from svdsweep.store.logs import tail
from svdsweep.store.places import files_in

FAILURES_AT_MOST = 50
LOGS_AT_MOST = 8
LOG_LINES = 25


@dataclass(frozen=True)
class Failure:
    """A reason and the jobs that it befell."""

    status: str
    phase: str
    error: str
    keys: list[str]


def failures(sweep: Sweep) -> list[Failure]:
    """Reasons of what did not end well, each once."""
    bad = sweep.table[sweep.table["status"] != "ok"]
    if bad.empty:
        return []
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for status, phase, error, key in bad[["status", "phase", "error", "key"]].astype(str).to_numpy():
        reasons.setdefault((status, phase, error), []).append(key)
    return [Failure(*reason, keys) for reason, keys in list(reasons.items())[:FAILURES_AT_MOST]]


def logs(folder: Path) -> list[tuple[str, str]]:
    """The last lines of the newest logs."""
    paths = sorted(files_in(folder, "logs"), key=lambda p: -p.stat().st_mtime)[:LOGS_AT_MOST]
    return [(path.name, tail(path, LOG_LINES)) for path in paths]
