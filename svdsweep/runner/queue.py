"""The queue of a driver with workers of its own: it gives out jobs that no other driver has and stores their rows."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from svdsweep.config import Job, Runner
from svdsweep.errors import Stopped
from svdsweep.runner.contract import More, Watch, no_more
from svdsweep.runner.leases import Leases
from svdsweep.runner.pending import MAKERS, from_other_machines, next_stage, pending
from svdsweep.runner.rounds import ORDER_SEED, begun, further_rounds, joined, order_seed, turn
from svdsweep.runner.scheduler import Scheduler
from svdsweep.runner.signals import Signals
from svdsweep.runner.waiting import Waiting
from svdsweep.runner.worker_main import UNWRITABLE
from svdsweep.runner.worker_process import Unwritable
from svdsweep.store.files import clear_unfinished
from svdsweep.store.rows import Row, Store

LOOK_S = 1.0
"""Seconds between two looks at the jobs that other drivers hold, and between two estimates of the time left."""


@contextmanager
def open_queue(
    jobs: Sequence[Job],
    options: Runner,
    store: Store,
    watch: Watch,
    signals: bool = True,
    more: More = no_more,
) -> Iterator["Queue"]:
    """The queue of a sweep; leases are released and signals restored at the end.

    Raises KeyboardInterrupt after a drain that the user asked for, and Stopped when the folder cannot be written."""
    folder = store.folder.resolve()
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        clear_unfinished(folder)  # of workers that died with their driver
        with Leases(folder, options.claim_stale_s) as leases, Signals(signals) as stop_signals:
            yield Queue(jobs, options, store, watch, leases, stop_signals, more)
            if stop_signals.asked:
                raise KeyboardInterrupt
    except OSError as e:
        if isinstance(e, Unwritable) or e.errno in UNWRITABLE or not folder.is_dir():
            kept = "Rows that are there are whole and stay; make room or change rights or the limit, and the"
            rest = kept if (folder / "rows").is_dir() else "That folder is gone, and what was in it; the"
            raise Stopped(
                f"The sweep has stopped, for its results cannot be written to {folder}: {str(e).splitlines()[0]}. "
                f"{rest} same command goes on from here."
            ) from e
        raise


class Queue:
    """The jobs of one driver: leased when given out, released when their row is stored."""

    def __init__(
        self,
        jobs: Sequence[Job],
        options: Runner,
        store: Store,
        watch: Watch,
        leases: Leases,
        stop: Signals,
        more: More = no_more,
    ) -> None:
        self._options, self._watch, self._leases, self._stop_signals = options, watch, leases, stop
        self._store, self._more, rows_by_key = store, more, store.rows()
        self._rows = dict(rows_by_key)
        """The rows so far, by key, by which the next stage is decided."""
        self._tail = store.tail(but=store.path.name)
        self._attempts = {key: row.attempt for key, row in rows_by_key.items()}
        todo = pending(jobs, rows_by_key, options) or next_stage(more, rows_by_key, options)
        leases.clear(rows_by_key.keys() - {job.key for job in todo})
        self._scheduler = Scheduler()
        self._rounds: dict[str, Row] = {}
        """The rows that another round of this driver adds to, by key."""
        if not options.fresh and "ok" not in options.retry:
            due = further_rounds(todo, rows_by_key)
            self._rounds = {job.key: replace(rows_by_key[job.key], job=job) for job in due}
        self._order_seed = order_seed(self._rounds.values(), options.order_seed)
        self._begin(todo)
        self._earlier = list(rows_by_key.values())
        """The rows of earlier runs, until they have been compared with this run's first."""
        self._came_back: set[str] = set()
        self._elsewhere: dict[str, Job] = {}
        """The jobs that another driver holds, by key."""
        self._patience = Waiting(leases, watch)
        self._others: set[str] = set()
        """The keys of the rows that other drivers have stored since the start."""
        self._looked = self._estimated = 0.0
        self._left_s: float | None = None
        self.jobs = len(todo)
        self.writer = self._store.path.stem
        """This driver's name, with which its workers' names begin."""
        self.stopped = False
        """Whether nothing more is given out."""

    def __len__(self) -> int:
        """How many jobs are neither given out nor done."""
        return len(self._scheduler) + len(self._elsewhere)

    @property
    def waiting(self) -> int:
        """How many jobs could be given out now."""
        return len(self._scheduler)

    def take(self, worker: str, idle_s: float = 0.0) -> Job | None:
        """The next job of a worker, leased: one that no other driver has."""
        while job := self._scheduler.take(worker, idle_s):
            if not self._leases.take(job.key):
                self._elsewhere[job.key] = job
            elif job.key in self._done_by_others():  # its row came after our last look and before our lease
                self._leases.release(job.key)
                self._watch.elsewhere(1)
            else:
                return job
        return None

    def attempt(self, job: Job) -> int:
        """The number of the job's next attempt, from 1."""
        return self._attempts.get(job.key, 0) + 1

    def came_back(self, job: Job) -> bool:
        """Whether a job was taken back before: if its worker's process died, none of two must be suspected again."""
        return job.key in self._came_back

    def put_back(self, job: Job) -> None:
        """Take back a job that was taken and not ended."""
        self._came_back.add(job.key)
        self._leases.release(job.key)
        if not self.stopped:
            self._scheduler.put_back(job)

    def leave(self, worker: str) -> None:
        """Note that a worker no longer has anything loaded."""
        self._scheduler.leave(worker)

    def next_round(self) -> int:
        """Begin another round of the jobs that this driver has measured and that are due for one, or the next stage;
        returns how many jobs that are.

        To be asked when nothing is left and nothing under way: then all strategies have had this round."""
        if self.stopped:
            return 0
        due = further_rounds([row.job for row in self._rounds.values()], self._rounds)
        due = due or next_stage(self._more, self._rows, self._options)
        if due:
            self._begin(due)
            self._watch.added(len(due))
        return len(due)

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Give out jobs; where there are rounds, by their turns in the next."""
        done = [begun(self._rounds[job.key]) if job.key in self._rounds else 0 for job in jobs]
        number = 1 + min(done, default=0)
        in_rounds = any(job.measure.rounds > 1 for job in jobs)
        by_turns = partial(turn, self._order_seed, number) if in_rounds else None
        self._scheduler.begin(jobs, by_turns)

    def keep(self, row: Row, seconds: float, workers: int, under_way: Sequence[Job], line: str = "") -> Row:
        """Store a row that took so long, joined with the job's rounds before, tell it and return it.

        `line` is the row as its worker wrote it, if nothing has come to it since: to write it again would be a tenth of
        what a driver computes for a job. Raises Unwritable when the disk is at fault, not the job."""
        if row.status == "failed" and row.phase == "write":
            _check_writable(self._store.folder, row.error)
        failed, worker = not row.final, str(row.provenance["worker"])
        if row.job.measure.rounds > 1:
            row, line = replace(row, values={**row.values, ORDER_SEED: self._order_seed}), ""
        if earlier := self._rounds.get(row.key):
            row = joined(earlier, row)
        if row.job.measure.rounds > 1:
            self._rounds[row.key] = row
        try:
            self._store.append(row, line)
        except OSError as e:
            raise Unwritable(str(e)) from e
        self._leases.release(row.key)
        self._attempts[row.key], self._rows[row.key] = row.attempt, row
        loaded = row.values.get("load_s")
        self._scheduler.learn(row.job, seconds, loaded if isinstance(loaded, float) else 0.0)
        if time.monotonic() - self._estimated > LOOK_S:
            self._estimated, self._left_s = time.monotonic(), self._scheduler.left_s(workers, under_way)
        self._compare_with_earlier(row)
        self._watch.finished(worker, row, self._left_s)
        if self._options.fail_fast and failed:
            self._drain(f"Stopping at the first failure (runner.fail_fast): {row.key} {row.status}.")
        return row

    def look(self) -> None:
        """Heed the user's wish to stop, and what became of the jobs that others hold.

        Raises KeyboardInterrupt at the second wish."""
        if self._stop_signals.asked > 1:
            raise KeyboardInterrupt
        if self._stop_signals.asked:
            self._drain("Stopping after the jobs under way; once more drops them.")
        if not self._elsewhere or time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        done = self._done_by_others()
        self._leases.clear(done & self._elsewhere.keys())
        for key, job in list(self._elsewhere.items()):
            if key in done:
                self._watch.elsewhere(1)
            elif self._leases.free(key):  # its driver is dead
                self._scheduler.put_back(job)
            else:
                continue
            del self._elsewhere[key]
        if self.waiting or not self._elsewhere:
            self._patience.over()
        else:
            self._patience.goes_on(self._elsewhere)

    def _compare_with_earlier(self, row: Row) -> None:
        """Tell once if earlier rows come from another GPU or other versions than this run's first that says so."""
        if not any(row.provenance.get(name) for name in MAKERS):
            return
        if strangers := from_other_machines(self._earlier, row.provenance):
            theirs, ours = (
                ", ".join(f"{name} {r.provenance.get(name)}" for name in MAKERS if r.provenance.get(name))
                for r in (strangers[0], row)
            )
            self._watch.told(
                f"{len(strangers)} rows of this sweep were made elsewhere ({theirs}; now {ours}). They are kept, and "
                "their columns say so; runner.fresh=true makes them anew."
            )
        self._earlier.clear()

    def _drain(self, why: str) -> None:
        if not self.stopped:
            self.stopped = True
            self._watch.told(why)
            self._scheduler.clear()
            self._elsewhere.clear()

    def _done_by_others(self) -> set[str]:
        """The keys of the rows that other drivers have stored since the start; their attempts are counted."""
        for row in self._tail.new():
            self._others.add(row.key)
            self._rows[row.key] = row
            self._attempts[row.key] = max(row.attempt, self._attempts.get(row.key, 0))
        return self._others


def _check_writable(folder: Path, error: str) -> None:
    """Raise Unwritable if a failure to write was the disk's: by its error number, or as a trial write fails too."""
    if any(f"[Errno {number}]" in error for number in UNWRITABLE):
        raise Unwritable(error)
    trial = folder / f".trial-{os.getpid()}"
    try:
        trial.write_bytes(bytes(2**20))
    except OSError as e:
        raise Unwritable(str(e)) from e
    finally:
        trial.unlink(missing_ok=True)
