"""What a Ray actor does on its machine: it keeps one worker process and answers the driver's calls."""

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from svdsweep.config import Job, Runner
from svdsweep.probes.devices import allotted
from svdsweep.runner.contract import TICK_S, Watch
from svdsweep.runner.worker_process import Unwritable, WorkerProcess
from svdsweep.store.files import clear_unfinished
from svdsweep.store.processes import lives, own
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Slot

MARK = "svdsweep-actor-"
"""How the folder of an actor is named that cannot see the driver's."""
OWNER = "owner.json"
"""The file in it that tells whose it is."""


@dataclass(frozen=True)
class Answer:
    """An actor's answer to a call; with `why` set, nothing was begun."""

    row: Row | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    """What the job wrote, by its path in the sweep's folder: sent home where the driver cannot see it."""
    why: str = ""
    """Why the worker does not come up, or cannot write."""
    unwritable: bool = False


class Keeper:
    """The actor: it keeps a worker process on the device that Ray has given it. Its methods answer when done."""

    def __init__(self, name: str, load: str, options: Runner, folder: Path, token: str, gpu: bool) -> None:
        self.shared = (folder / token).exists()
        self.folder = folder if self.shared else _own_folder()
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        clear_unfinished(self.folder)
        device = allotted() if gpu else "cpu"
        threads = max(1, int(options.ray.cpus_per_actor))
        slot = Slot(device, self.folder, threads, preview=options.preview)
        self.worker = WorkerProcess(name, slot, load, options, Watch())

    def ready(self) -> Answer:
        """Start the process unless it is up."""
        while not self.worker.idle:
            if self.worker.lost:
                return Answer(why=self.worker.cause or "unknown")
            if self.worker.empty:
                self.worker.start()
            self._step()
        return Answer()

    def run(self, job: Job, attempt: int) -> Answer:
        """Run a job in a process that may take it; one that dies before it has begun is replaced."""
        try:
            if self.worker.needs_fresh_process(job):
                self.worker.stop()
            while True:
                answer = self.ready()
                if answer.why:
                    return answer
                self.worker.give(job, attempt)
                while not self.worker.returned:
                    if row := self._step():
                        return Answer(row, self._files(job))
                self.worker.returned = []
        except Unwritable as e:
            return Answer(why=str(e), unwritable=True)

    def leave(self) -> None:
        """Stop the process, and remove what it has written here, all of which the driver has."""
        self.worker.stop()
        if not self.shared:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _step(self) -> Row | None:
        pipes = [self.worker.pipe] if self.worker.pipe else []
        return self.worker.step(bool(wait(pipes, timeout=TICK_S)))

    def _files(self, job: Job) -> dict[str, bytes]:
        """Take the files named by the job's key, unless the driver sees them where they are; baselines stay too."""
        if self.shared:
            return {}
        files = {}
        for path in self.folder.rglob(f"{job.key}*"):
            name = path.relative_to(self.folder)
            files[name.as_posix()] = path.read_bytes()
            if name.parent.as_posix() != "baselines":
                path.unlink()
        return files


def _own_folder() -> Path:
    """A folder for this actor, in the machine's for temporary files; those of dead actors there go."""
    for old in Path(tempfile.gettempdir()).glob(f"{MARK}*"):
        try:
            dead = lives(json.loads((old / OWNER).read_bytes())) is False
        except (OSError, ValueError):  # another user's, or not begun
            continue
        if dead:
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=MARK))
    (folder / OWNER).write_bytes(json.dumps(own()).encode())
    return folder
