"""`svdsweep watch`: the progress of a sweep that runs elsewhere, from its row files; it may come and go."""

import contextlib
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from svdsweep.commands.request import Parser
from svdsweep.errors import UserError
from svdsweep.images.blocks import blocks
from svdsweep.runner import batch_of
from svdsweep.runner.contract import Batch
from svdsweep.runner.leases import under_way
from svdsweep.runner.progress import clock, for_terminal
from svdsweep.store.manifest import wanted_keys
from svdsweep.store.places import previews
from svdsweep.store.rows import STATUSES, Row, Store, Tail
from svdsweep.terminal import visible, warn


def main(argv: Sequence[str]) -> int:
    """Answer the verb; returns the exit code. Raises UserError, and KeyboardInterrupt at Ctrl-C (the sweep goes on)."""
    parser = Parser("watch", "Show the progress of a sweep that another process or a cluster runs.")
    parser.add_argument("folder", type=Path, help="the sweep's folder, such as runs/motion")
    parser.add_flag("--once", "print how things stand, and leave")
    parser.add_flag(
        "--preview", "draw what running jobs would show by now, where they run with runner.preview=true"
    )
    parser.add_json("the same as one JSON document")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two looks")
    asked = parser.asked(argv)
    if not asked.folder.is_dir():
        raise UserError(f"{asked.folder} is no folder of a sweep.")
    if asked.once or asked.json:
        now = standing(asked.folder)
        print(json.dumps(now, indent=1) if asked.json else visible(in_words(now)))
        for key, path in {} if asked.json else previews(asked.folder).items():
            print(pictured(key, path, asked.preview))
        return 0
    return follow(asked.folder, asked.every, asked.preview)


def standing(folder: Path) -> dict[str, Any]:
    """How a sweep stands: jobs in all (None if not known), rows by status, jobs under way, and a cluster's batch."""
    keys, store = wanted_keys(folder), Store(folder)
    rows = store.rows()
    warn(folder, store.faults)
    mine = [row for key, row in rows.items() if keys is None or key in keys]
    batch = batch_of(folder)
    return {
        "folder": str(folder),
        "jobs": len(keys) if keys is not None else None,
        "statuses": dict(Counter(row.status for row in mine)),
        "under_way": under_way(folder),
        "previews": {key: str(path) for key, path in previews(folder).items()},
        "slurm_array": batch.name if batch else None,
        "slurm_tasks": batch.tasks if batch else None,
    }


def in_words(now: dict[str, Any]) -> str:
    """A standing as one line."""
    statuses = now["statuses"]
    done = sum(statuses.values())
    counts = ", ".join(f"{statuses[status]} {status}" for status in STATUSES if status in statuses)
    of = f" of {now['jobs']}" if now["jobs"] is not None else ""
    tasks = now["slurm_tasks"]
    queue = f"; array {now['slurm_array']}: {tasks or 'not in the queue'}" if now["slurm_array"] else ""
    return f"{now['folder']}: {done}{of} jobs have a row ({counts or 'none'}), {now['under_way']} under way{queue}"


def pictured(key: str, path: Path, drawn: bool) -> str:
    """Where the preview of a running job lies; below that, where it is asked for, the picture in blocks."""
    told = visible(f"preview of {key}: {path}")
    columns = shutil.get_terminal_size().columns
    return "\n".join([told, *filter(None, [blocks(path, columns) if drawn else ""])])


def _show_pictures(folder: Path, seen: dict[str, int], drawn: bool) -> None:
    """Print what `pictured` tells of each preview that is not `seen` yet, or where they are drawn, not as it is now."""
    for key, path in previews(folder).items():
        with contextlib.suppress(OSError):  # its job may just have ended
            now = path.stat().st_mtime_ns if drawn else 0
            if seen.get(key) != now:
                seen[key] = now
                # a `Watch` would spell out its colours
                tqdm.write(pictured(key, path, drawn), file=sys.stderr)


def follow(folder: Path, every_s: float, drawn: bool = False) -> int:
    """Show rows as they come, until every job of the manifest has one; and the previews of running jobs, `drawn` or by
    their paths. Returns the exit code."""
    keys, tail = wanted_keys(folder), Tail(folder)
    missing = (keys or set()) - {row.key for row in tail.new()}
    print(visible(in_words(standing(folder))), file=sys.stderr)
    if keys is not None and not missing:
        return 0
    watch, began, seen = for_terminal(), time.monotonic(), 0
    ended: Batch | None = None
    pictures: dict[str, int] = {}
    watch.opened(len(missing) if keys is not None else 0, [])
    try:
        while keys is None or missing:
            for row in tail.new():
                seen += row.key in missing
                missing.discard(row.key)
                left_s = (time.monotonic() - began) / seen * len(missing) if seen else None
                watch.finished(_worker(row), row, left_s)
            _show_pictures(folder, pictures, drawn)
            if ended:
                watch.told(f"Its array {ended.name} has ended and left {len(missing)} jobs undone.")
                return 1
            batch = batch_of(folder)
            ended = batch if batch and batch.tasks == {} else None
            time.sleep(every_s)  # then one more look: a row may just have been written
    finally:
        watch.closed()
    print(f"every job has a row after {clock(time.monotonic() - began)}", file=sys.stderr)
    return 0


def _worker(row: Row) -> str:
    return str(row.provenance.get("worker") or row.provenance.get("host") or "")
