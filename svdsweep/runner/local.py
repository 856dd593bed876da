"""The local pool: one process a device, pull-based, affine to what is loaded; every job ends as a row."""

from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from svdsweep import config
from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.probes.devices import cores, discover
from svdsweep.runner.contract import Watch
from svdsweep.runner.queue import Queue, open_queue
from svdsweep.runner.worker_main import name_of
from svdsweep.runner.worker_process import WorkerProcess
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Load

TICK_S = 0.5
"""How often deadlines, deaths that closed no pipe, and other drivers' jobs are looked at."""


def run(
    jobs: Sequence[Job],
    load: Load,
    options: config.Runner,
    folder: Path,
    watch: Watch,
    signals: bool = True,
) -> Iterator[Row]:
    """Run jobs on this machine's devices; see `run_jobs`. `signals=False` leaves SIGINT and SIGTERM to the caller."""
    folder, name = folder.resolve(), name_of(load)
    devices = discover(options.devices)
    if options.workers_per_device > 1 and devices != ["cpu"]:
        raise UserError(
            f"runner.workers_per_device={options.workers_per_device} is only for runner.devices=cpu: processes "
            "that share a GPU would spoil each other's times and memory."
        )
    places = [device for device in devices for _ in range(options.workers_per_device)]
    threads = max(1, cores() // len(places))
    with open_queue(jobs, options, folder, watch, signals) as ledger:
        names = _names(places[: ledger.jobs], ledger.writer)
        seats = [
            WorkerProcess(worker, device, threads, folder, name, options, watch)
            for worker, device in zip(names, places, strict=False)
        ]
        yield from _Pool(ledger, seats, watch).run()


class _Pool:
    """One run of the pool; its methods are the parts of `run`'s loop."""

    def __init__(self, ledger: Queue, seats: Sequence[WorkerProcess], watch: Watch) -> None:
        self.ledger, self.seats, self.watch = ledger, seats, watch
        self.reserved: dict[str, Job] = {}
        """By worker: a claimed job that waits for its fresh process."""
        self.told_lost: set[str] = set()

    def run(self) -> Iterator[Row]:
        """Yield each row when it is stored; KeyboardInterrupt after a drain, UserError when no worker comes up."""
        self.watch.opened(self.ledger.jobs, [seat.name for seat in self.seats])
        try:
            while self._goes_on():
                for seat in self.seats:
                    self._occupy(seat)
                readable = wait([seat.pipe for seat in self.seats if seat.pipe], timeout=TICK_S)
                for seat in self.seats:
                    row = None if seat.empty else seat.step(seat.pipe in readable)
                    if row:
                        working = sum(not seat.lost for seat in self.seats)
                        under_way = [s.job for s in self.seats if s.job]
                        yield self.ledger.keep(row, seat.seconds, working, under_way)
                    if seat.returned:
                        self.ledger.put_back(seat.returned)
                        seat.returned = None
            if self.ledger.interrupted:
                raise KeyboardInterrupt
        finally:
            for seat in self.seats:
                seat.stop()
            self.watch.closed()

    def _goes_on(self) -> bool:
        self.ledger.look()
        if self.ledger.stopped:
            for job in self.reserved.values():
                self.ledger.put_back(job)
            self.reserved.clear()
        busy = any(seat.job for seat in self.seats)
        left = len(self.ledger) + len(self.reserved)
        if left and not busy and all(seat.lost for seat in self.seats):
            causes = list(dict.fromkeys(seat.cause.strip() for seat in self.seats))
            raise UserError(f"No worker comes up, so {left} jobs are left: {'; '.join(causes)}")
        return bool(left or busy or self.ledger.next_round())

    def _occupy(self, seat: WorkerProcess) -> None:
        """Give an idle worker a job, or an empty seat a process."""
        if seat.lost:
            self._give_up(seat)
        elif seat.empty:
            self.ledger.leave(seat.name)
            if seat.name in self.reserved or self.ledger.waiting:
                seat.start()
        elif seat.idle:
            job = self.reserved.pop(seat.name, None) or self.ledger.take(seat.name, seat.idle_s)
            if job and seat.needs_fresh_process(job):
                self.reserved[seat.name] = job
                seat.stop()
                seat.start()
            elif job:
                seat.give(job, self.ledger.attempt(job))

    def _give_up(self, seat: WorkerProcess) -> None:
        """A device whose processes do not come up: its jobs are for the others."""
        if seat.name in self.told_lost:
            return
        self.told_lost.add(seat.name)
        self.ledger.leave(seat.name)
        if job := self.reserved.pop(seat.name, None):
            self.ledger.put_back(job)
        if not all(other.lost for other in self.seats):
            self.watch.told(f"{seat.name} is given up, the others go on: {seat.cause.strip()}")


def _names(devices: Sequence[str], driver: str) -> list[str]:
    """A name for each worker, also of its log: the driver, then cpu0, cpu1 … or the GPU's index among the visible."""
    here = discover("auto")
    return [
        f"{driver}-{f'gpu{here.index(device)}' if device in here and device != 'cpu' else f'cpu{i}'}"
        for i, device in enumerate(devices)
    ]
