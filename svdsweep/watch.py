"""`svdsweep watch`: the progress of a sweep that runs elsewhere, from its row files; it may come and go."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from svdsweep.runner.progress import clock, for_terminal
from svdsweep.runner.slurm import in_queue, submitted
from svdsweep.runner.tail import Tail
from svdsweep.schema import UserError
from svdsweep.store import STATUSES, Row, last_rows, read_rows


def main(argv: Sequence[str]) -> int:
    """Answer the verb; returns the exit code. Raises UserError, and KeyboardInterrupt at Ctrl-C (the sweep goes on)."""
    parser = argparse.ArgumentParser(
        prog="svdsweep watch",
        description="Show the progress of a sweep that another process or a cluster runs.",
    )
    parser.add_argument("folder", type=Path, help="the sweep's folder, such as runs/motion")
    parser.add_argument("--once", action="store_true", help="print how things stand, and leave")
    parser.add_argument("--json", action="store_true", help="the same as one JSON document")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two looks")
    asked = parser.parse_args(argv)
    if not asked.folder.is_dir():
        raise UserError(f"{asked.folder} is no folder of a sweep.")
    if asked.once or asked.json:
        now = standing(asked.folder)
        print(json.dumps(now, indent=1) if asked.json else in_words(now))
        return 0
    return follow(asked.folder, asked.every)


def standing(folder: Path) -> dict[str, object]:
    """How a sweep stands: jobs in all (None if not known), rows by status, jobs under way, SLURM's array if any."""
    keys, rows = wanted(folder), last_rows(read_rows(folder))
    mine = [row for key, row in rows.items() if keys is None or key in keys]
    array = submitted(folder)
    queue = in_queue(array) if array else None
    return {
        "folder": str(folder),
        "jobs": len(keys) if keys is not None else None,
        "statuses": dict(Counter(row.status for row in mine)),
        "under_way": under_way(folder),
        "slurm_array": array,
        "slurm_tasks": dict(Counter(state.split()[0].lower() for state in queue))
        if queue is not None
        else None,
    }


def in_words(now: dict[str, object]) -> str:
    """A standing as one line."""
    statuses = now["statuses"]
    assert isinstance(statuses, dict)
    done = sum(statuses.values())
    counts = ", ".join(f"{statuses[status]} {status}" for status in STATUSES if status in statuses)
    of = f" of {now['jobs']}" if now["jobs"] is not None else ""
    tasks = now["slurm_tasks"]
    queue = f"; array {now['slurm_array']}: {tasks or 'not in the queue'}" if now["slurm_array"] else ""
    return f"{now['folder']}: {done}{of} jobs have a row ({counts or 'none'}), {now['under_way']} under way{queue}"


def wanted(folder: Path) -> set[str] | None:
    """The keys of the sweep's last command, from its manifest; None without one."""
    try:
        return set(json.loads((folder / "sweep.json").read_text())["keys"])
    except (OSError, ValueError, KeyError):
        return None


def under_way(folder: Path) -> int:
    """How many jobs drivers have claimed."""
    claims = folder / "claims"
    if not claims.is_dir():
        return 0
    return len({path.stem for path in claims.iterdir() if path.name[0] != "."})  # key, or key.number


def follow(folder: Path, every_s: float) -> int:
    """Show rows as they come, until every job of the manifest has one. Returns the exit code."""
    keys, tail = wanted(folder), Tail(folder)
    rows = last_rows(tail.new())
    missing = (keys or set()) - rows.keys()
    print(in_words(standing(folder)), file=sys.stderr)
    if keys is not None and not missing:
        return 0
    watch, began, seen = for_terminal(), time.monotonic(), 0
    array, over = submitted(folder), False
    watch.opened(len(missing) if keys is not None else 0, [])
    try:
        while keys is None or missing:
            for row in tail.new():
                seen += row.key in missing
                missing.discard(row.key)
                left_s = (time.monotonic() - began) / seen * len(missing) if seen else None
                watch.finished(_worker(row), row, left_s)
            if over:
                watch.told(f"Its array {array} has ended and left {len(missing)} jobs undone.")
                return 1
            over = (
                array is not None and in_queue(array) == []
            )  # one more look: a row may just have been written
            time.sleep(every_s)
    finally:
        watch.closed()
    print(f"every job has a row after {clock(time.monotonic() - began)}", file=sys.stderr)
    return 0


def _worker(row: Row) -> str:
    return str(row.provenance.get("worker") or row.provenance.get("host") or "")
