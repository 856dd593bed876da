"""SLURM: an array of shards, each the local pool on its allocation; a requeue goes on where its shard was cut off."""

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import orjson

from svdsweep.config import Job, Runner, Slurm
from svdsweep.errors import UserError
from svdsweep.runner import local
from svdsweep.runner.contract import Batch, More, Watch, no_more
from svdsweep.runner.pending import next_stage, pending
from svdsweep.runner.progress import Lines
from svdsweep.runner.scheduler import cost
from svdsweep.runner.signals import Signals
from svdsweep.runner.worker_main import name_of
from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import read_plain
from svdsweep.store.rows import Row, Store
from svdsweep.worker.contract import Load

QUEUE_EVERY = 6
"""The queue is asked at one of so many looks at the row files, for its controller serves all users of a cluster."""


@dataclass
class Shard:
    """What one task of the array does. Submitit pickles it, so its code must be installed on the nodes."""

    jobs: list[Job]
    load: str
    options: Runner
    folder: Path
    before: dict[str, int]
    """Attempts by key when the array was submitted: a job that has more was tried in this shard already."""

    def __call__(self) -> int:
        """Run what is left of the shard; returns the number of rows written."""
        store = Store(self.folder)
        attempts = {key: row.attempt for key, row in store.rows().items()}
        left = [job for job in self.jobs if attempts.get(job.key, 0) <= self.before.get(job.key, 0)]
        load, options = resolve_name(self.load), replace(self.options, name="local")
        rows = local.run(left, load, options, store, Lines(sys.stdout), signals=False)
        return sum(1 for _ in rows)

    def checkpoint(self) -> Any:
        """Called by submitit when the task is preempted or out of time: the same shard again, less what it has done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run(
    jobs: Sequence[Job], load: Load, options: Runner, store: Store, watch: Watch, more: More = no_more
) -> Iterator[Row]:
    """Submit the jobs (or come back to the array that runs already) and yield the rows as the shards store them.

    The driver may be closed: the shards go on, and the same command, or `svdsweep watch`, comes back to them."""
    rows = store.rows()
    todo = pending(jobs, rows, options) or next_stage(more, rows, options)
    if not todo:
        return
    watch.opened(len(todo), ["slurm"])
    try:
        with Signals() as stop_signals:
            while todo:
                awaited = {job.key: rows[job.key].attempt if job.key in rows else 0 for job in todo}
                yield from _run(todo, awaited, name_of(load), options, store, watch, stop_signals)
                rows = store.rows()
                todo = [] if awaited else next_stage(more, rows, options)
                watch.added(len(todo))
    finally:
        watch.closed()


def _run(
    todo: Sequence[Job],
    awaited: dict[str, int],
    load: str,
    options: Runner,
    store: Store,
    watch: Watch,
    stop_signals: Signals,
) -> Iterator[Row]:
    """Submit an array of jobs, after one that runs already, and yield its rows; `awaited` is as `_follow` has it."""
    folder, poll_s = store.folder.resolve(), options.slurm.poll_s
    array = submitted(folder)
    if array and in_queue(array) != []:
        watch.told(f"Array {array} of this sweep is in the queue; watching it before anything is submitted.")
        yield from _follow(array, store, poll_s, awaited, watch, stop_signals)
    if left := [job for job in todo if job.key in awaited]:
        array = _submit(left, load, options, folder, awaited)
        watch.told(f"Submitted array {array}; its logs are in {folder / 'slurm'}.")
        yield from _follow(array, store, poll_s, awaited, watch, stop_signals)


def _follow(
    array: str, store: Store, poll_s: float, awaited: dict[str, int], watch: Watch, stop_signals: Signals
) -> Iterator[Row]:
    """Yield the rows of the awaited jobs until all are there or the array is over; Ctrl-C ends it and no shard.

    `awaited` has the attempts stored before, by the keys of the jobs; those that get a row leave it."""
    tail, state, over = store.tail(), None, False
    for looks in count():
        for row in tail.new():
            if row.key in awaited and row.attempt > awaited[row.key]:
                del awaited[row.key]
                watch.finished(str(row.provenance.get("worker", "slurm")), row, None)
                yield row
        if not awaited:
            return
        if over:
            watch.told(
                f"Array {array} has ended and left {len(awaited)} jobs undone; the logs in {store.folder / 'slurm'} "
                "tell why. The same command submits them again."
            )
            return
        if stop_signals.asked:
            watch.told(
                f"Array {array} goes on; the same command comes back to it, `scancel {array}` ends it."
            )
            raise KeyboardInterrupt
        if looks % QUEUE_EVERY == 0:
            now = in_queue(array)
            if now is not None and now != state:
                state = now
                counts = (f"{n} {task.lower().replace(' none', '')}" for task, n in Counter(now).items())
                watch.told(f"Array {array}: {', '.join(counts) or 'no task left'}")
            over = now == []  # one more look at the rows: the last may have been written just before
        time.sleep(poll_s)


def batch(folder: Path) -> Batch | None:
    """The array that was submitted last for a sweep, and its tasks in the queue."""
    array = submitted(folder)
    if array is None:
        return None
    states = in_queue(array)
    return Batch(array, None if states is None else dict(Counter(s.split()[0].lower() for s in states)))


def submitted(folder: Path) -> str | None:
    """The array that was submitted last for a sweep; None where no readable note tells."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        array = str(orjson.loads(read_plain(folder / "slurm" / "submitted.json"))["array"])
        return array if array.isdecimal() else None
    return None


def in_queue(array: str) -> list[str] | None:
    """The states of the array's tasks that are not over, sorted; None when SLURM does not answer."""
    if shutil.which("squeue") is None:
        return None
    query = ["squeue", "--noheader", "--array", "--format=%T %r", f"--jobs={array}"]
    asked = subprocess.run(query, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if asked.returncode:
        return [] if "Invalid job id" in asked.stderr else None
    over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
    return sorted(line for line in asked.stdout.splitlines() if line.split()[0] not in over)


def _submit(todo: Sequence[Job], load: str, options: Runner, folder: Path, before: dict[str, int]) -> str:
    """Submit the shards; returns the array's number. Raises UserError without submitit or SLURM, and if it refuses."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "runner=slurm needs SLURM's commands (sbatch, squeue) on this machine; there are none."
        )
    try:
        import submitit
    except ImportError as e:
        raise UserError("runner=slurm needs submitit: pip install 'svdsweep[slurm]'.") from e
    asked = options.slurm
    executor = submitit.SlurmExecutor(folder=folder / "slurm", max_num_timeout=asked.requeues)
    executor.update_parameters(**parameters(asked, folder.name))
    parts = shards(todo, asked.shards)
    try:
        with executor.batch():
            tasks = [executor.submit(Shard(part, load, options, folder, before)) for part in parts]
        array = str(tasks[0].job_id).split("_")[0]
    except submitit.core.utils.FailedJobError as e:
        raise UserError(f"SLURM refused the array: {str(e).strip().splitlines()[-1]}") from e
    note = {"array": array, "shards": len(parts), "keys": [job.key for job in todo]}
    note |= {"at": datetime.now(UTC).isoformat(timespec="seconds")}
    with renamed_when_done(folder / "slurm" / "submitted.json") as part:
        part.write_text(json.dumps(note) + "\n", encoding="utf-8", newline="\n")
    return array


def parameters(asked: Slurm, name: str) -> dict[str, Any]:
    """The settings in submitit's words, without those that are not set."""
    same = ("partition", "account", "qos", "constraint", "gres", "cpus_per_task")
    words = {
        **{name: getattr(asked, name) for name in same},
        "job_name": f"svdsweep-{name}",
        "time": asked.time_min,
        "mem": f"{asked.mem_gib}G" if asked.mem_gib else None,
        "setup": asked.setup or None,
        "srun_args": [f"--container-image={asked.container}"] if asked.container else None,
        "array_parallelism": asked.shards,
        "signal_delay_s": asked.signal_s,
    }
    return {name: value for name, value in words.items() if value is not None}


def shards(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """The jobs in at most `count` parts of about equal work, cut so that few groups of equal settings are parted."""
    places = {key: place for place, key in enumerate(dict.fromkeys(job.pipeline_key for job in jobs))}
    total, done = sum(map(cost, jobs)), 0.0
    parts: list[list[Job]] = [[] for _ in range(count)]
    for job in sorted(jobs, key=lambda job: places[job.pipeline_key]):
        middle = done + cost(job) / 2
        parts[min(int(count * middle / total), count - 1)].append(job)
        done += cost(job)
    return [part for part in parts if part]
