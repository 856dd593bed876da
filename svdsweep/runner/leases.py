"""Leases of jobs: several drivers share a folder, and each job runs once, without a lock that outlives its holder."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from svdsweep.platforms import system
from svdsweep.store import processes
from svdsweep.store.places import is_plain, read_plain

FOLDER = "claims"
"""Where the lease files are, in the sweep's folder; each is named by its job's key, or key.number."""

QUIET_S = 60
"""A driver of another machine gives a sign of life at least this often, unless `runner.claim_stale_s` is longer."""


def under_way(folder: Path) -> int:
    """How many jobs of a sweep drivers have taken, also those of drivers that are dead."""
    return len({path.stem for path in (folder / FOLDER).glob("[!.]*") if is_plain(path)})


def is_run_now(folder: Path) -> bool:
    """Whether a driver is at a sweep: one of this machine that lives, or one of another whose last sign of life is no
    older than `QUIET_S` by this machine's clock."""
    here = processes.own()["machine"]
    for path in (folder / FOLDER).glob("[!.]*"):
        if is_plain(path):
            owner = _content(path)
            lives = processes.lives(owner) if owner.get("machine") == here else None
            with contextlib.suppress(OSError):
                if lives or (lives is None and time.time() - path.stat().st_mtime < QUIET_S):
                    return True
    return False


@dataclass(frozen=True)
class Holder:
    """A driver that holds a job which another one waits for."""

    host: str
    pid: int
    here: bool
    """Whether it is on this machine."""
    is_stopped: bool
    silent_s: float
    """Seconds since its last sign of life."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host or 'an unknown machine'}"

    def how_to_take_over(self, stale_s: float) -> str:
        """What would bring its jobs to whoever waits, who takes over from another machine after so many seconds."""
        sign = f"its last sign of life was {self.silent_s:.0f} s ago"
        if not self.here:
            return f"{sign}; after {stale_s:g} s without one (runner.claim_stale_s) its jobs come here"
        if self.is_stopped:
            return (
                f"it is stopped (Ctrl-Z?), {sign}: `kill -CONT {self.pid}` lets it go on, "
                f"`{system.how_to_end(self.pid, at_once=True)}` ends it and its jobs come here"
            )
        return f"{sign}; `{system.how_to_end(self.pid)}` would end it, and its jobs come here"


class Leases:
    """The leases of one driver, files under `<folder>/claims/`, kept fresh by a thread while it is entered.

    A lease is taken by exclusive creation (atomic on NFS from version 3). Its life sign is the file's time of change by
    the file server's clock, compared with that of a file just touched there, so that clocks of hosts may differ."""

    def __init__(self, folder: Path, stale_s: float) -> None:
        self.folder, self.stale_s = folder / FOLDER, stale_s
        token = uuid.uuid4().hex
        self.me = {**processes.own(), "token": token}
        self._sign = orjson.dumps(self.me)
        """What stands in this driver's lease files."""
        self._clock = self.folder / f".{token}"
        self._held: dict[str, Path] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, daemon=True)

    def __enter__(self) -> "Leases":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for key in list(self._held):
            self.release(key)
        self._clock.unlink(missing_ok=True)

    def take(self, key: str) -> bool:
        """Take the lease of a job; False while another living driver holds it, or was faster.

        The lease of a dead driver is not replaced but outnumbered: whoever creates the file with the next number has
        the job. So of several drivers that see it one gets it, and at no moment is there no lease."""
        if self._take_first(key):
            return True
        before = self._leases_of(key)
        if not all(self._dead(path) for path in before):
            return False
        number = max((int(path.suffix[1:] or 0) for path in before), default=-1) + 1
        path = self.folder / (f"{key}.{number}" if number else key)
        if not self._create(key, path):
            return False
        now = self._leases_of(key)
        now.pop(path, None)
        if now.items() - before.items():  # another has it since the listing, which was old
            self.release(key)
            return False
        for dead in before:
            system.remove(dead)
        return True

    def _take_first(self, key: str) -> bool:
        """Take a lease where there has been none: what most takes are, with one look at the folder instead of two."""
        if not self._create(key, self.folder / key):
            return False
        if self._names_of(key) == [key]:
            return True
        self.release(key)
        return False

    def _create(self, key: str, path: Path) -> bool:
        """Write the lease file of a job; False when it is there already."""
        try:
            with path.open("xb") as f:
                self._held[key] = path
                f.write(self._sign)
        except FileExistsError:
            return False
        except OSError:
            self._held.pop(key, None)
            path.unlink(missing_ok=True)
            raise
        return True

    def free(self, key: str) -> bool:
        """Whether nobody alive holds a job."""
        return all(self._dead(path) for path in self._leases_of(key))

    def clear(self, keys: Iterable[str]) -> None:
        """Remove the leases that dead drivers have left on these jobs, whose rows are stored."""
        taken = {path.stem for path in self.folder.glob("[!.]*")}
        for key in taken.intersection(keys):
            if self.take(key):  # nobody else may have it while the old ones go
                self.release(key)

    def holder(self, key: str) -> Holder | None:
        """The driver that holds a job, as far as it is seen from here; None when nobody does."""
        paths = sorted(self._leases_of(key), key=lambda path: int(path.suffix[1:] or 0))
        if not paths or (silent_s := self._silent_s(paths[-1])) is None:
            return None
        owner = _content(paths[-1])
        here, pid = self._is_here(owner), int(str(owner.get("pid") or 0))
        is_stopped = here and processes.is_stopped(pid)
        return Holder(str(owner.get("machine") or "").partition("/")[0], pid, here, is_stopped, silent_s)

    def release(self, key: str) -> None:
        """Give a lease back; the job's row, if it has one, is stored by now."""
        path = self._held.pop(key, None)
        if path and _bytes(path) == self._sign:  # it may have been taken over while this machine slept
            system.remove(path)

    def _leases_of(self, key: str) -> dict[Path, tuple[int, int]]:
        """A job's lease files, each with what tells it from a later one of the same name."""
        files = {}
        for name in self._names_of(key):
            with contextlib.suppress(FileNotFoundError):
                status = (path := self.folder / name).stat()
                files[path] = status.st_ino, status.st_mtime_ns
        return files

    def _names_of(self, key: str) -> list[str]:
        """The names of a job's lease files."""
        try:
            return [name for name in os.listdir(self.folder) if name.partition(".")[0] == key]
        except FileNotFoundError:
            return []

    def _dead(self, path: Path) -> bool:
        owner = _content(path)
        if self._is_here(owner) and (lives := processes.lives(owner)) is not None:
            return not lives
        silent_s = self._silent_s(path)
        return silent_s is not None and silent_s > self.stale_s

    def _is_here(self, owner: Mapping[str, object]) -> bool:
        return owner.get("machine") == self.me["machine"]

    def _silent_s(self, path: Path) -> float | None:
        """Seconds since a lease's last life sign; None when it is gone."""
        try:
            self._clock.touch()
            return self._clock.stat().st_mtime - path.stat().st_mtime
        except FileNotFoundError:
            return None

    def _keep_fresh(self) -> None:
        while not self._over.wait(self.stale_s / 5):
            for path in list(self._held.values()):
                with contextlib.suppress(OSError):
                    os.utime(path)


def _content(path: Path) -> dict[str, object]:
    """Who holds a lease; empty when it is gone or not yet written."""
    with contextlib.suppress(ValueError):
        plain = orjson.loads(_bytes(path))
        return plain if isinstance(plain, dict) else {}
    return {}


def _bytes(path: Path) -> bytes:
    """What stands in a lease file; nothing when it is gone."""
    try:
        return read_plain(path)
    except OSError:
        return b""
