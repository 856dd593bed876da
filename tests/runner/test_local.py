"""The local pool: how a driver ends, what its workers share, and how long a process lives."""

import sys
import time
from collections import Counter
from types import SimpleNamespace

import fakes
import pytest
from running import (
    EMULATED,
    STOPS,
    SYSTEMS,
    Heard,
    cpu,
    family,
    ran,
    start_driver,
    stored,
    sweep,
    sweep_on,
    wait_for,
)

from svdsweep.config import Runner
from svdsweep.errors import UserError
from svdsweep.runner import local
from svdsweep.runner.worker_main import environment
from svdsweep.store.places import preview_of
from svdsweep.store.rows import Store
from svdsweep.worker.contract import Slot

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize(
    ("number", "system"),
    [
        *((number, "this one") for number in STOPS),
        pytest.param(STOPS[0], "windows", marks=(EMULATED, pytest.mark.slow)),
    ],
)
def test_asked_once_to_stop_the_jobs_under_way_are_finished_and_kept(folder, number, system):
    driver = start_driver(folder, [(i, "sleep 1") for i in range(12)], system)
    wait_for(lambda: len(ran(folder)) == 2)
    driver.send_signal(number)
    assert driver.wait(20) == 130
    assert {row.status for row in stored(folder)} == {"ok"}
    assert set(ran(folder)) == {row.key for row in stored(folder)}
    assert len(stored(folder)) == 2


def test_a_job_that_dies_leaves_no_picture_behind_and_its_phase_names_it_before(folder):
    dying, running = fakes.job(0, "kill"), fakes.job(1, "phase denoise")
    left = preview_of(folder, dying.key)
    left.parent.mkdir(parents=True)
    left.touch()
    heard = Heard()
    sweep(folder, [dying, running], cpu(1, attempts=1, preview=True), watch=heard)
    assert not left.exists()
    assert f"denoise ({preview_of(folder, running.key)})" in heard.phases


@pytest.mark.parametrize("system", SYSTEMS)
def test_asked_twice_it_ends_at_once(folder, system):
    driver = start_driver(folder, [(i, "sleep 60") for i in range(4)], system)
    wait_for(lambda: len(ran(folder)) == 2)
    driver.send_signal(STOPS[0])
    time.sleep(0.2)
    driver.send_signal(STOPS[0])
    assert driver.wait(20) == 130
    assert stored(folder) == []
    assert not list((folder / "claims").iterdir())


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_killed_driver_leaves_no_orphan_and_no_lost_row_and_the_next_goes_on_at_once(folder, system):
    acts = ["", "", "hang", "hang", "", ""]
    driver = start_driver(folder, list(enumerate(acts)), system)
    wait_for(lambda: len(ran(folder)) == 4 and len(stored(folder)) == 2)
    driver.kill()
    driver.wait()
    wait_for(lambda: not family(folder))  # also not what the hanging jobs had started
    rows = sweep_on(system, folder, [(i, "") for i in range(6)])
    assert Counter(row.status for row in rows) == {"ok": 6}
    assert sorted(row.job.seed for row in rows[2:]) == [2, 3, 4, 5]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux wakes a process when its parent dies")
def test_a_killed_driver_leaves_no_worker_that_is_stopped(folder):
    driver = start_driver(folder, [(0, "hang")])
    wait_for(lambda: ran(folder))
    for process in family(folder):
        if process.pid != driver.pid:
            process.suspend()
    driver.kill()
    driver.wait()
    wait_for(lambda: not family(folder))


def test_workers_share_the_cores_fairly_and_log_apart(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # a terminal that cannot show what a worker prints
    rows = sweep(folder, [fakes.job(i, "sleep 0.2") for i in range(4)])
    assert {row.values["threads"] for row in rows} == {"3"}
    assert all(row.values["looks_for_garbage"] for row in rows), "only while a worker imports it does not"
    logs = [log.read_text(encoding="utf-8") for log in (folder / "logs").iterdir()]
    assert ["… and on" in log for log in logs] == [True, True]


def test_threads_that_wait_do_not_spin_unless_the_user_says_so(folder, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert environment(Slot("cpu", folder, 2))["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert environment(Slot("cpu", folder, 2))["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.fixture
def pool(folder, monkeypatch):
    """Run jobs on GPUs that are named, of a machine of three and six cores; the workers that were made."""

    def made(jobs, devices="auto", **options):
        monkeypatch.setenv("OMP_NUM_THREADS", "6")
        machine = ["GPU-a", "GPU-b", "GPU-c"]
        asked = {"auto": machine, "cpu": ["cpu"]}
        monkeypatch.setattr(local, "discover", lambda wanted: asked.get(wanted, wanted.split(",")))
        monkeypatch.setattr(local._Pool, "run", lambda pool: iter(pool.workers))
        options = Runner(devices=devices, **options)
        return list(
            local.run([fakes.job(i) for i in range(jobs)], fakes.load, options, Store(folder), Heard())
        )

    return made


@pytest.mark.parametrize(
    ("jobs", "options", "named", "threads"),
    [
        (9, {}, ["gpu0", "gpu1", "gpu2"], 2),
        (2, {}, ["gpu0", "gpu1"], 2),
        (9, {"devices": "GPU-c,GPU-b"}, ["gpu2", "gpu1"], 3),
        (9, {"devices": "cpu", "workers_per_device": 4}, ["cpu0", "cpu1", "cpu2", "cpu3"], 1),
        (9, {"devices": "cpu", "workers_per_device": 9}, [f"cpu{i}" for i in range(9)], 1),
    ],
)
def test_each_device_has_a_worker_with_its_share_of_the_cores_as_long_as_there_are_jobs(
    pool, jobs, options, named, threads
):
    workers = pool(jobs, **options)
    assert [worker.name.rsplit("-", 1)[1] for worker in workers] == named
    assert {worker.slot.threads for worker in workers} == {threads}


@pytest.mark.parametrize("devices", ["auto", "GPU-a", "GPU-a,cpu"])
def test_a_gpu_is_never_shared(pool, devices):
    with pytest.raises(UserError, match=r"only for runner\.devices=cpu"):
        pool(9, devices=devices, workers_per_device=2)


class Waiting(SimpleNamespace):
    """A queue in which so many jobs wait; what was asked of it."""

    def __init__(self, waiting=0, **facts):
        self.back, self.left = [], []
        asked = {"look": lambda: None, "put_back": self.back.append, "leave": self.left.append}
        asked["came_back"] = self.back.__contains__
        super().__init__(
            waiting=waiting, stopped=False, next_round=lambda: 0, attempt=lambda _: 4, **asked, **facts
        )

    def __len__(self):
        return self.waiting


def worker_that(**facts):
    """A worker without a process; what it was told to do."""
    told = []
    actions = {"start": lambda: told.append("start"), "stop": lambda: told.append("stop")}
    plain = {
        "name": "w-1",
        "lost": False,
        "empty": False,
        "idle": False,
        "job": None,
        "judged": None,
        "cause": "",
        "idle_s": 0.0,
    }
    worker = SimpleNamespace(**plain | actions | facts, told=told, returned=[])
    worker.give = lambda job, attempt, alone: told.append((job.seed, attempt, alone))
    worker.needs_fresh_process = lambda job: worker.given is not None
    return worker


def test_a_job_that_waits_for_a_fresh_process_is_kept_for_its_worker_and_is_its_next():
    job, queue = fakes.job(7), Waiting(take=lambda worker, idle_s: fakes.job(8))
    spent = worker_that(idle=True, given="another strategy")
    pool = local._Pool(queue, [spent], Heard())
    pool.reserved["w-1"] = job
    assert pool._goes_on(), "nothing waits in the queue, but a job is reserved"
    pool._occupy(spent)
    assert (spent.told, pool.reserved) == (["stop", "start"], {"w-1": job})
    started = worker_that(empty=True)
    pool._occupy(started)
    assert (started.told, queue.left) == (["start"], ["w-1"])
    fresh = worker_that(idle=True, given=None)
    pool._occupy(fresh)
    assert (fresh.told, pool.reserved, queue.back) == ([(7, 4, False)], {}, [])
    assert not pool._goes_on()


def test_an_empty_slot_gets_no_process_where_nothing_waits():
    slot = worker_that(empty=True)
    local._Pool(Waiting(), [slot], Heard())._occupy(slot)
    assert slot.told == []


@pytest.mark.parametrize("stopped", [True, False])
def test_a_reserved_job_goes_back_when_its_worker_is_lost_or_the_sweep_stops(stopped):
    job, queue, heard = fakes.job(7), Waiting(), Heard()
    workers = [worker_that(lost=not stopped, cause="no driver"), worker_that(name="w-2")]
    pool = local._Pool(queue, workers, heard)
    pool.reserved["w-1"], queue.stopped = job, stopped
    pool._goes_on()
    assert (queue.back, pool.reserved, len(pool.workers)) == ([job], {}, 2 if stopped else 1)
    assert heard.texts == ([] if stopped else ["w-1 is given up, the others go on: no driver"])


def test_a_job_that_was_not_begun_goes_back_to_the_queue():
    job, queue = fakes.job(7), Waiting()
    worker = worker_that(step=lambda readable: None, given=None)
    worker.returned = [job]
    assert local._Pool(queue, [worker], Heard())._step(worker, False) is None
    assert (queue.back, worker.returned) == ([job], [])


@pytest.mark.parametrize(("isolation", "processes"), [("device", 1), ("settings", 2), ("job", 6)])
def test_isolation_decides_how_long_a_process_lives(folder, isolation, processes):
    jobs = [fakes.job(i, forward_chunk_size=2 if i % 2 else None) for i in range(6)]
    rows = sweep(folder, jobs, cpu(workers=1, isolation=isolation))
    assert len({row.values["pid"] for row in rows}) == processes


def test_settings_that_cannot_be_undone_get_a_process_of_their_own(folder):
    jobs = [fakes.job(i, compile="whole" if i in (1, 3) else "none") for i in range(4)]
    rows = sweep(folder, jobs, cpu(workers=1))
    pids = {row.job.seed: row.values["pid"] for row in rows}
    assert pids[0] == pids[2] != pids[1] == pids[3]
