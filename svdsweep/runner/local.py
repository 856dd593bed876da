"""The local pool: one process a device; who is idle takes a job, first for what it has loaded; each ends as a row."""

from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait

from svdsweep.config import Job, Runner
from svdsweep.errors import UserError
from svdsweep.probes.devices import cores, discover
from svdsweep.runner.contract import TICK_S, More, Watch, no_more
from svdsweep.runner.queue import Queue, open_queue
from svdsweep.runner.worker_main import name_of
from svdsweep.runner.worker_process import WorkerProcess
from svdsweep.store.rows import Row, Store
from svdsweep.worker.contract import Load, Slot


def run(
    jobs: Sequence[Job],
    load: Load,
    options: Runner,
    store: Store,
    watch: Watch,
    more: More = no_more,
    signals: bool = True,
) -> Iterator[Row]:
    """Run jobs on this machine's devices; see `run_jobs`. `signals=False` leaves Ctrl-C and its like to the caller."""
    folder, load_name = store.folder.resolve(), name_of(load)
    devices = discover(options.devices)
    if options.workers_per_device > 1 and devices != ["cpu"]:
        raise UserError(
            f"runner.workers_per_device={options.workers_per_device} is only for runner.devices=cpu: processes "
            "that share a GPU would spoil each other's times and memory."
        )
    devices = [device for device in devices for _ in range(options.workers_per_device)]
    threads = max(1, cores() // len(devices))
    unasked = devices[0] == "cpu" and options.devices.strip() == "auto"
    with open_queue(jobs, options, store, watch, signals, more) as queue:
        if more is no_more:  # a process that has nothing to do never starts
            devices = devices[: queue.jobs]
        workers = [
            WorkerProcess(
                name,
                Slot(device, folder, threads, unasked, options.judge_beside, options.preview),
                load_name,
                options,
                watch,
            )
            for name, device in zip(_names(devices, queue.writer), devices, strict=True)
        ]
        yield from _Pool(queue, workers, watch).run()


class _Pool:
    """One run of the pool; its methods are the parts of `run`'s loop."""

    def __init__(self, queue: Queue, workers: Sequence[WorkerProcess], watch: Watch) -> None:
        self.queue, self.workers, self.watch = queue, workers, watch
        self.reserved: dict[str, Job] = {}
        """The leased jobs that wait for a fresh process, by the worker's name."""
        self.causes: list[str] = []
        """Why workers were given up."""

    def run(self) -> Iterator[Row]:
        """Yield each row when it is stored. Raises UserError when no worker comes up."""
        self.watch.opened(self.queue.jobs, [worker.name for worker in self.workers])
        try:
            while self._goes_on():
                for worker in self.workers:
                    self._occupy(worker)
                readable = wait([worker.pipe for worker in self.workers if worker.pipe], timeout=TICK_S)
                for worker in self.workers:
                    if not worker.empty and (row := self._step(worker, worker.pipe in readable)):
                        yield row
        finally:
            for worker in self.workers:
                worker.stop()
            self.watch.closed()

    def _goes_on(self) -> bool:
        self.queue.look()
        if self.queue.stopped:
            for job in self.reserved.values():
                self.queue.put_back(job)
            self.reserved.clear()
        self._give_up_the_lost()
        left = len(self.queue) + len(self.reserved)
        if left and not self.workers:
            raise UserError(
                f"No worker comes up, so {left} jobs are left: {'; '.join(dict.fromkeys(self.causes))}"
            )
        return bool(
            left or any(worker.job or worker.judged for worker in self.workers) or self.queue.next_round()
        )

    def _give_up_the_lost(self) -> None:
        """Devices whose processes do not come up leave their jobs to the others."""
        lost = [worker for worker in self.workers if worker.lost]
        self.workers = [worker for worker in self.workers if not worker.lost]
        for worker in lost:
            self.causes.append(worker.cause.strip())
            self.queue.leave(worker.name)
            if job := self.reserved.pop(worker.name, None):
                self.queue.put_back(job)
            if self.workers:
                self.watch.told(f"{worker.name} is given up, the others go on: {worker.cause.strip()}")

    def _occupy(self, worker: WorkerProcess) -> None:
        """Give an idle worker a job, or an empty slot a process."""
        if worker.empty:
            self.queue.leave(worker.name)
            if worker.name in self.reserved or self.queue.waiting:
                worker.start()
        elif worker.idle:
            job = self.reserved.pop(worker.name, None) or self.queue.take(worker.name, worker.idle_s)
            if job and worker.needs_fresh_process(job):
                self.reserved[worker.name] = job
                if not worker.judged:
                    worker.stop()
                    worker.start()
            elif job:
                worker.give(job, self.queue.attempt(job), self.queue.came_back(job))

    def _step(self, worker: WorkerProcess, readable: bool) -> Row | None:
        """Hear a worker; the row of a job that ended by that is stored and returned."""
        row = worker.step(readable)
        for job in reversed(worker.returned):
            self.queue.put_back(job)
        worker.returned = []
        if row is None:
            return None
        under_way = [other.job for other in self.workers if other.job]
        return self.queue.keep(row, worker.took_s, len(self.workers), under_way, worker.line)


def _names(devices: Sequence[str], driver: str) -> list[str]:
    """A name for each worker, also of its log: the driver, then cpu0, cpu1 … or the GPU's index among the visible."""
    here = discover("auto")
    return [
        f"{driver}-{f'gpu{here.index(device)}' if device in here and device != 'cpu' else f'cpu{i}'}"
        for i, device in enumerate(devices)
    ]
