"""Leases of jobs: two drivers on one folder, and what becomes of the jobs of one that died."""

import json
import os
import threading
import time
from collections import Counter

import fakes
import pytest
from running import Heard, ran, start_driver, stored, sweep, wait_for

from svdsweep.runner.leases import Leases

pytestmark = pytest.mark.timeout(90)


def test_two_drivers_share_the_work_and_lose_and_double_nothing(folder):
    jobs = [(i, "sleep 0.1") for i in range(30)]
    drivers = [start_driver(folder, jobs, workers_per_device=1) for _ in range(2)]
    shares = [driver.communicate(timeout=60)[0].splitlines() for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0]
    assert min(map(len, shares)) >= 5
    assert len(stored(folder)) == 30
    assert ran(folder) == Counter({fakes.job(i).key: 1 for i in range(30)})
    assert len(list((folder / "rows").iterdir())) == 2
    assert not list((folder / "claims").iterdir())


def test_a_driver_waits_for_a_job_that_another_holds_and_takes_over_when_that_one_dies(folder):
    other = start_driver(folder, [(0, "hang")])
    wait_for(lambda: ran(folder))
    threading.Timer(2, other.kill).start()
    rows = sweep(folder, [fakes.job(0), fakes.job(1)])
    other.wait()
    assert [row.job.seed for row in rows] == [1, 0]


def test_what_another_driver_finishes_meanwhile_is_not_run_again(folder):
    other = start_driver(folder, [(0, "wait go")])
    wait_for(lambda: ran(folder))
    threading.Timer(1, (folder / "go").touch).start()
    heard = Heard()
    assert [row.job.seed for row in sweep(folder, [fakes.job(0), fakes.job(1)], watch=heard)] == [1]
    assert other.wait(20) == 0
    assert heard.jobs_elsewhere == 1


def test_a_lease_of_another_machine_is_respected_until_it_gives_no_sign_of_life(tmp_path):
    with Leases(tmp_path, stale_s=5) as leases:
        path = tmp_path / "claims" / "abc"
        path.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "born": 0, "token": "x"}))
        assert not leases.take("abc")
        os.utime(path, (time.time() - 60,) * 2)
        assert leases.free("abc")
        assert leases.take("abc")
        assert [json.loads(p.read_text()) for p in path.parent.glob("abc*")] == [leases.me]
        leases.release("abc")
        assert not list(path.parent.glob("abc*"))


def test_a_lease_is_kept_fresh_while_it_is_held(tmp_path):
    with Leases(tmp_path, stale_s=1) as leases:
        leases.take("abc")
        path = tmp_path / "claims" / "abc"
        os.utime(path, (0, 0))
        wait_for(lambda: time.time() - path.stat().st_mtime < 10)


def test_who_acts_on_an_old_listing_gives_the_lease_back(tmp_path, monkeypatch):
    path = tmp_path / "claims" / "abc"
    path.parent.mkdir()
    path.write_text("{}")

    def meanwhile(leases, seen):  # one took the dead lease's job and gave it back, then another began it
        seen.unlink()
        seen.write_text('{"machine": "a faster one"}')
        return True

    monkeypatch.setattr(Leases, "_dead", meanwhile)
    assert not Leases(tmp_path, stale_s=5).take("abc")
    assert [(p.name, p.read_text()) for p in path.parent.iterdir()] == [
        ("abc", '{"machine": "a faster one"}')
    ]


def test_of_many_drivers_that_see_a_stale_lease_one_gets_it(tmp_path):
    (tmp_path / "claims").mkdir()
    keys = [f"key{i:02}" for i in range(20)]
    for key in keys:
        path = tmp_path / "claims" / key
        path.write_text("{}")
        os.utime(path, (0, 0))
    taken, start = [], threading.Barrier(8)

    def driver():
        leases = Leases(tmp_path, stale_s=5)
        start.wait()
        taken.extend(key for key in keys if leases.take(key))

    threads = [threading.Thread(target=driver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == Counter(keys)
