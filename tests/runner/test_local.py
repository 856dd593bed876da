"""The local pool: how a driver ends, what its workers share, and how long a process lives."""

import signal
import time
from collections import Counter

import fakes
import pytest
from running import Heard, cpu, family, ran, start_driver, stored, sweep, wait_for

from svdsweep.config import Runner
from svdsweep.errors import UserError
from svdsweep.runner import local
from svdsweep.runner.worker_main import environment
from svdsweep.worker.contract import Slot

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_once_to_stop_the_jobs_under_way_are_finished_and_kept(folder, number):
    driver = start_driver(folder, [(i, "sleep 1") for i in range(12)])
    wait_for(lambda: len(ran(folder)) == 2)
    driver.send_signal(number)
    assert driver.wait(20) == 130
    assert {row.status for row in stored(folder)} == {"ok"}
    assert set(ran(folder)) == {row.key for row in stored(folder)}
    assert len(stored(folder)) == 2


def test_asked_twice_it_ends_at_once(folder):
    driver = start_driver(folder, [(i, "sleep 60") for i in range(4)])
    wait_for(lambda: len(ran(folder)) == 2)
    driver.send_signal(signal.SIGINT)
    time.sleep(0.2)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(20) == 130
    assert stored(folder) == []
    assert not list((folder / "claims").iterdir())


def test_a_killed_driver_leaves_no_orphan_and_no_lost_row_and_the_next_goes_on_at_once(folder):
    acts = ["", "", "hang", "hang", "", ""]
    driver = start_driver(folder, list(enumerate(acts)))
    wait_for(lambda: len(ran(folder)) == 4 and len(stored(folder)) == 2)
    driver.kill()
    driver.wait()
    wait_for(lambda: not family(folder))  # also not what the hanging jobs had started
    rows = sweep(folder, [fakes.job(i) for i in range(6)])
    assert sorted(row.job.seed for row in rows) == [2, 3, 4, 5]
    assert Counter(row.status for row in stored(folder)) == {"ok": 6}


def test_workers_share_the_cores_fairly_and_log_apart(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # a terminal that cannot show what a worker prints
    rows = sweep(folder, [fakes.job(i, "sleep 0.2") for i in range(4)])
    assert {row.values["threads"] for row in rows} == {"3"}
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
        return list(local.run([fakes.job(i) for i in range(jobs)], fakes.load, options, folder, Heard()))

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
