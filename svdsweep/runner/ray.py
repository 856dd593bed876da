"""Ray: an actor a device, as many as the cluster has room for, each the keeper of one worker process."""

import atexit
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from svdsweep.config import Job, Ray, Runner
from svdsweep.errors import SOME_FAILED, UserError
from svdsweep.runner.contract import TICK_S, More, Watch, no_more
from svdsweep.runner.queue import Queue, open_queue
from svdsweep.runner.ray_actor import Answer, Keeper
from svdsweep.runner.ray_head import Head
from svdsweep.runner.worker_main import name_of
from svdsweep.runner.worker_process import STARTS, Unwritable
from svdsweep.store.files import renamed_when_done
from svdsweep.store.rows import Row, Store
from svdsweep.store.secrets import masked
from svdsweep.worker.contract import Load

GROW_S = 2.0
"""How often the cluster is asked whether it has room for more actors."""

LEAVE_S = 5.0
"""How long idle actors have for clearing up at the end."""

SILENT_S = 3.0
"""An idle actor that was not heard of for so long is asked for a sign of life, so that its death is no job's fault."""

DEATHS = 20
"""Actors that may die in a row before they are up: a machine that has just died is offered for a while."""


@dataclass
class _Actor:
    """The driver's view of an actor."""

    handle: Any
    name: str
    up: bool = False
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)
    """When it was given its job, or became idle."""
    heard: float = field(default_factory=time.monotonic)
    """When it last answered."""


def run(
    jobs: Sequence[Job], load: Load, options: Runner, store: Store, watch: Watch, more: More = no_more
) -> Iterator[Row]:
    """Run jobs on a Ray cluster's actors; see `run_jobs`. Actors that die are replaced, machines that join get work."""
    if options.devices not in ("auto", "cpu"):
        raise UserError(
            f"runner.devices={options.devices}: under runner=ray it is auto or cpu, for Ray gives the GPUs."
        )
    folder = store.folder.resolve()
    with open_queue(jobs, options, store, watch, more=more) as queue:
        if not queue.jobs:
            return
        token = f".seen-{uuid.uuid4().hex}"
        (folder / token).touch()
        try:
            with _connected(options.ray) as (ray, head):
                yield from _Cluster(ray, head, queue, name_of(load), options, folder, token, watch).run()
        finally:
            (folder / token).unlink(missing_ok=True)


@contextmanager
def _connected(asked: Ray) -> Iterator[tuple[Any, Head]]:
    """Join or start Ray, and leave it again unless the caller had joined before. Raises UserError."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as e:
        raise UserError("runner=ray needs Ray: pip install 'svdsweep[ray]'.") from e
    joined = ray.is_initialized()
    if not joined:
        try:
            # without an address, one that another program left behind would be taken; `local` always starts afresh
            ray.init(address=asked.address or "local", include_dashboard=False, log_to_driver=False)
        except (ConnectionError, OSError, RuntimeError) as e:
            raise UserError(f"runner.ray.address={asked.address}: {_why_not_joined(e)}") from e
    head = Head(str(ray.get_runtime_context().gcs_address))
    try:
        yield ray, head
    finally:
        if head.dead:
            # before Ray's own, which waits for the dead and ends the process another way
            atexit.register(_end)
        elif not joined:
            ray.shutdown()


def _end() -> None:
    """End this process without taking leave of Ray."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(SOME_FAILED)


def _why_not_joined(e: BaseException) -> str:
    """What is wrong and what to do; the cause that Ray tells stands at the bottom of its own errors."""
    causes = [e]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    if any("token" in str(cause).lower() for cause in causes):
        return (
            "that cluster wants a token and got none, or a wrong one. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
            "~/.ray/auth_token to the cluster's token; RAY_AUTH_MODE=disabled on both sides does without."
        )
    return f"no Ray answers there ({str(e).splitlines()[0]})."


@dataclass
class _Cluster:
    """One run over a cluster; its methods are the parts of `run`'s loop."""

    ray: Any
    head: Head
    queue: Queue
    load: str
    options: Runner
    folder: Path
    token: str
    watch: Watch
    calls: dict[Any, _Actor] = field(default_factory=dict)
    """The actors that have not answered, by the call that they were given."""
    idle: list[_Actor] = field(default_factory=list)
    started: int = 0
    failed: int = 0
    died: int = 0
    cause: str = ""
    """Why the last actor was dropped."""
    _grown: float = 0.0
    _told_waiting: bool = False

    def run(self) -> Iterator[Row]:
        """Yield each row when it is stored. Raises UserError when no worker comes up."""
        self.watch.opened(self.queue.jobs, [])
        try:
            while self._goes_on():
                self._grow()
                for actor in list(self.idle):
                    self._give(actor)
                if not self.calls:
                    time.sleep(TICK_S)
                    continue
                done, _ = self.head.call(self.ray.wait, list(self.calls), num_returns=1, timeout=TICK_S)
                for call in done:
                    actor = self.calls.pop(call)
                    seconds = time.monotonic() - actor.since
                    if row := self._answered(call, actor):
                        yield self.queue.keep(row, seconds, len(self._up()), self._under_way())
        finally:
            if not self.head.dead:
                self._part()
            self.watch.closed()

    def _part(self) -> None:
        """End the actors; those that are idle clear up before."""
        if left := [actor.handle.leave.remote() for actor in self.idle]:
            self.head.call(self.ray.wait, left, num_returns=len(left), timeout=LEAVE_S)
        for actor in [*self.calls.values(), *self.idle]:
            self.ray.kill(actor.handle)

    def _goes_on(self) -> bool:
        self.queue.look()
        hopeless = self.failed >= STARTS or self.died >= DEATHS
        if len(self.queue) and hopeless and not self._up():
            raise UserError(f"No worker comes up, so {len(self.queue)} jobs are left: {self.cause.strip()}")
        return bool(len(self.queue) or self._under_way() or self.queue.next_round())

    def _up(self) -> list[_Actor]:
        return [*self.idle, *(actor for actor in self.calls.values() if actor.up)]

    def _under_way(self) -> list[Job]:
        return [actor.job for actor in self.calls.values() if actor.job]

    def _grow(self) -> None:
        """Start as many actors as the living machines have room for and the jobs can use."""
        if time.monotonic() - self._grown < GROW_S:
            return
        self._grown = time.monotonic()
        asked = self.options.ray
        alive = [node["Resources"] for node in self.head.call(self.ray.nodes) if node["Alive"]]
        on_gpus = self.options.devices != "cpu" and any(node.get("GPU") for node in alive)
        gpus = asked.gpus_per_actor if on_gpus else 0.0
        room = sum(_room(node, gpus, asked.cpus_per_actor) for node in alive)
        most = room if asked.actors is None else asked.actors
        useful = len(self.queue) + len(self._under_way())
        for _ in range(min(most, useful) - len(self.calls) - len(self.idle)):
            self._start(gpus)
        if not room and not self._told_waiting:
            self._told_waiting = True
            self.watch.told("No machine of the cluster has room for a worker; waiting for one.")

    def _start(self, gpus: float) -> None:
        name = f"{self.queue.writer}-ray{self.started}"
        self.started += 1
        remote = self.ray.remote(
            num_gpus=gpus, num_cpus=self.options.ray.cpus_per_actor, max_restarts=0, max_task_retries=0
        )(Keeper)  # a restarting actor would refuse innocent jobs: the dead are replaced instead
        handle = remote.remote(name, self.load, self.options, self.folder, self.token, gpus > 0)
        self.calls[handle.ready.remote()] = _Actor(handle, name)

    def _give(self, actor: _Actor) -> None:
        if not self.queue.waiting:
            return
        now = time.monotonic()
        if now - actor.heard > SILENT_S:
            self.idle.remove(actor)
            self.calls[actor.handle.ready.remote()] = actor
        elif job := self.queue.take(actor.name, now - actor.since):
            self.idle.remove(actor)
            actor.job, actor.since, attempt = job, now, self.queue.attempt(job)
            self.watch.started(actor.name, job, attempt)
            self.calls[actor.handle.run.remote(job, attempt)] = actor

    def _answered(self, call: Any, actor: _Actor) -> Row | None:
        """Take an actor's answer; returns the row of a job that ended by it."""
        job, actor.job = actor.job, None
        try:
            answer: Answer = self.head.call(self.ray.get, call)
        except self.ray.exceptions.RayError as e:
            self.died += not actor.up
            self._drop(actor, masked(f"{type(e).__name__}: {str(e).strip().splitlines()[0]}"))
            if job is None:
                return None
            attempt, error = self.queue.attempt(job), f"the actor or its machine died: {self.cause}"
            return Row(job, "crashed", attempt, error, provenance={"host": None, "worker": actor.name})
        if answer.unwritable:
            raise Unwritable(answer.why)
        if answer.why:
            self.failed += 1
            self._drop(actor, answer.why)
            if job:
                self.queue.put_back(job)
            return None
        actor.heard = time.monotonic()
        if job or not actor.up:
            actor.up, actor.since = True, actor.heard
        self.idle.append(actor)
        if job is None or answer.row is None:
            return None
        self.failed = self.died = 0
        for name, content in answer.files.items():
            with renamed_when_done(self.folder / name) as part:
                part.write_bytes(content)
        return replace(answer.row, job=job)

    def _drop(self, actor: _Actor, why: str) -> None:
        """Part with an actor that is dead, or whose worker does not come up."""
        self.ray.kill(actor.handle)
        self.queue.leave(actor.name)
        self.cause = why
        if actor.up:
            self.watch.told(f"{actor.name} is lost, another takes its place where there is room: {why}")


def _room(node: dict[str, float], gpus: float, cpus: float) -> int:
    """How many actors a machine has room for."""
    by = [int(node.get("CPU", 0) / cpus)] if cpus else []
    by += [int(node.get("GPU", 0) / gpus)] if gpus else []
    return min(by, default=1)
