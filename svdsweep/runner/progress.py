"""What the user sees while a sweep runs: one bar and the workers on a terminal, plain lines elsewhere."""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn, TextIO

from tqdm import tqdm

from svdsweep.config import Job
from svdsweep.runner.contract import Watch
from svdsweep.store.rows import STATUSES, Row
from svdsweep.terminal import on_one_line, visible


def for_terminal(stream: TextIO | None = None) -> Watch:
    """A bar where `stream` (standard error) is a terminal, else a line a row."""
    stream = stream or sys.stderr
    return Bar(stream) if stream.isatty() else Lines(stream)


class Lines(Watch):
    """One plain line for each row, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.jobs = self.done = 0

    def opened(self, jobs: int, workers: Sequence[str]) -> None:
        """Say how much there is to do."""
        self.jobs = jobs
        self.told(f"{jobs} jobs on {len(workers)} workers: {', '.join(map(short, workers))}")

    def finished(self, worker: str, row: Row, left_s: float | None) -> None:
        """Say what came of a job."""
        self.done += 1
        left = f", {clock(left_s)} left" if left_s is not None and self.done < self.jobs else ""
        self.told(f"[{self.done}/{self.jobs}{left}] {headline(row)} on {short(worker)}")

    def elsewhere(self, jobs: int) -> None:
        """Count what another driver did."""
        self.done += jobs

    def added(self, jobs: int) -> None:
        """Count another round."""
        self.jobs += jobs

    def told(self, text: str) -> None:
        """Print a line."""
        print(visible(text), file=self.stream, flush=True)


class Bar(Watch):
    """One bar for the sweep with the statuses and the time left; below it, what each worker does; findings above it."""

    bar: "tqdm[NoReturn]"
    lines: "dict[str, tqdm[NoReturn]]"
    """What each worker does, by its name."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.counts: Counter[str] = Counter()
        self.doing: dict[str, str] = {}

    def opened(self, jobs: int, workers: Sequence[str]) -> None:
        """Draw the bar and one line for each worker (as many as fit)."""
        form = "{n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
        self.bar = tqdm(total=jobs, file=self.stream, bar_format=form, dynamic_ncols=True, position=0)
        self.lines = {
            worker: tqdm(total=0, file=self.stream, bar_format="{desc}", position=i, leave=False)
            for i, worker in enumerate(workers[:16], start=1)
        }
        for worker in self.lines:
            self._does(worker, "starting")

    def started(self, worker: str, job: Job, attempt: int) -> None:
        """Show which job a worker does."""
        self.doing[worker] = f"{job.key}{f' (attempt {attempt})' if attempt > 1 else ''}, {describe(job)}"
        self._does(worker, self.doing[worker])

    def reached(self, worker: str, phase: str, vram_peak_gib: float | None) -> None:
        """Show where a worker's job is."""
        peak = "" if vram_peak_gib is None else f", {vram_peak_gib:.2f} GiB"
        self._does(worker, f"{phase}{peak} of {self.doing.get(worker, '')}")

    def finished(self, worker: str, row: Row, left_s: float | None) -> None:
        """Count a row; announce it at once unless it is `ok`."""
        self.counts[row.status] += 1
        if row.status != "ok":
            self.told(headline(row))
        counts = ", ".join(f"{status} {self.counts[status]}" for status in STATUSES if self.counts[status])
        left = f", {clock(left_s)} left" if left_s is not None else ""
        self.bar.set_postfix_str(counts + left, refresh=False)
        self.bar.update()
        if self.doing.get(worker, "").startswith(row.key):  # else it has begun another
            self._does(worker, "idle")

    def elsewhere(self, jobs: int) -> None:
        """Advance the bar by what another driver did."""
        self.bar.update(jobs)

    def added(self, jobs: int) -> None:
        """Lengthen the bar by another round."""
        self.bar.total = (self.bar.total or 0) + jobs
        self.bar.refresh()

    def told(self, text: str) -> None:
        """Print a line above the bar."""
        tqdm.write(visible(text), file=self.stream)

    def closed(self) -> None:
        """Leave the bar as it is, take the workers' lines away."""
        for line in (*self.lines.values(), self.bar):
            line.close()

    def _does(self, worker: str, what: str) -> None:
        line = self.lines.get(worker)
        if line is not None:  # `if line` would ask for its length, which is 0
            text = on_one_line(f"  {short(worker)}: {what}")
            line.set_description_str(text[: shutil.get_terminal_size().columns - 1])


def short(worker: str) -> str:
    """A worker's name without its driver's."""
    return worker.rsplit("-", 1)[-1]


def describe(job: Job) -> str:
    """A job in a few words."""
    settings = f"seed {job.seed} motion {job.motion_bucket_id} noise {job.noise_aug_strength:g}"
    return f"{job.model.name} {job.memory.name} {job.image.name} {settings}"


def headline(row: Row) -> str:
    """A row in one line: the key, the status, the time, and the error's first line."""
    total = row.values.get("total_s")
    time = f" {total:.2f} s" if isinstance(total, float) else ""
    error = f": {row.error.splitlines()[0]}" if row.error else ""
    where = f" in {row.phase}" if row.phase and row.status != "ok" else ""
    again = "" if row.final else f" (attempt {row.attempt})"
    return f"{row.key} {row.status}{time}{where}{again}, {describe(row.job)}{error}"


def clock(seconds: float) -> str:
    """Seconds as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
