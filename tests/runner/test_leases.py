"""Leases of jobs: two drivers on one folder, and what becomes of the jobs of one that died."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter

import fakes
import psutil
import pytest
from running import Heard, ran, start_driver, stored, sweep, wait_for

from svdsweep.runner.leases import Leases, under_way
from svdsweep.store.processes import machine

pytestmark = pytest.mark.timeout(90)
LIVING = {
    "machine": machine(),
    "pid": os.getpid(),
    "born": psutil.Process().create_time(),
    "token": "another driver",
}
DEAD = {"machine": machine()}


@pytest.fixture
def claims(tmp_path):
    """The folder of the leases of a sweep."""
    (tmp_path / "claims").mkdir()
    return tmp_path / "claims"


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
        path.write_text(
            json.dumps({"machine": "elsewhere", "pid": 1, "born": 0, "token": "x"}), encoding="utf-8"
        )
        assert not leases.take("abc")
        os.utime(path, (time.time() - 60,) * 2)
        assert leases.free("abc")
        assert leases.take("abc")
        assert [json.loads(p.read_text(encoding="utf-8")) for p in path.parent.glob("abc*")] == [leases.me]
        assert [p.name for p in path.parent.glob("abc*")] == ["abc.1"]
        leases.release("abc")
        assert not list(path.parent.glob("abc*"))


def test_the_lease_of_a_dead_driver_here_is_free_at_once_and_outnumbered(claims):
    for owner in (DEAD, LIVING | {"born": LIVING["born"] + 1.5}, LIVING | {"pid": -1}, LIVING | {"pid": "x"}):
        (claims / "abc.9").write_text(json.dumps(owner), encoding="utf-8")
        with Leases(claims.parent, stale_s=1e9) as leases:
            assert leases.free("abc")
            assert leases.take("abc")
            assert [p.name for p in claims.iterdir()] == ["abc.10"]
            assert json.loads((claims / "abc.10").read_text(encoding="utf-8")) == leases.me
        assert list(claims.iterdir()) == []


@pytest.mark.parametrize("name", ["abc", "abc.1"])
def test_the_lease_of_a_living_driver_here_is_respected_however_old_it_is(claims, name):
    (claims / "abc").write_text(json.dumps(DEAD), encoding="utf-8")
    (claims / name).write_text(json.dumps(LIVING), encoding="utf-8")
    os.utime(claims / name, (0, 0))
    before = {path: path.stat().st_ino for path in claims.iterdir()}
    leases = Leases(claims.parent, stale_s=0)
    assert not leases.free("abc")
    assert not leases.take("abc")
    assert {path: path.stat().st_ino for path in claims.iterdir()} == before


def test_a_driver_that_has_ended_and_was_not_waited_for_is_dead(claims):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        owner = {"pid": process.pid, "born": psutil.Process(process.pid).create_time()}
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        (claims / "abc").write_text(json.dumps(LIVING | owner), encoding="utf-8")
        assert Leases(claims.parent, stale_s=1e9).free("abc")
    assert Leases(claims.parent, stale_s=1e9).free("abc")


def test_an_unfinished_or_foreign_lease_counts_by_its_age(claims):
    leases = Leases(claims.parent, stale_s=100)
    for text in ("", "[1]", "{", json.dumps(LIVING | {"machine": "elsewhere"})):
        (claims / "abc").write_text(text, encoding="utf-8")
        assert not leases.free("abc")
        os.utime(claims / "abc", (time.time() - 50,) * 2)
        assert not leases.free("abc")
        os.utime(claims / "abc", (time.time() - 200,) * 2)
        assert leases.free("abc")
    assert not leases._dead(claims / "gone while it was looked at")


def test_whoever_creates_the_file_first_has_the_job(claims, monkeypatch):
    (claims / "abc").write_text(json.dumps(LIVING), encoding="utf-8")
    leases = Leases(claims.parent, stale_s=5)
    monkeypatch.setattr(leases, "_leases_of", lambda key: {})
    assert not leases.take("abc")
    assert json.loads((claims / "abc").read_text(encoding="utf-8")) == LIVING


def test_a_lease_that_cannot_be_written_is_none(claims, monkeypatch):
    leases = Leases(claims.parent, stale_s=5)
    with monkeypatch.context() as patched:
        patched.setattr(json, "dump", full)
        with pytest.raises(OSError, match="planted"):
            leases.take("abc")
    assert list(claims.iterdir()) == []
    assert not leases._held  # or it would keep another driver's lease fresh
    leases.release("abc")
    assert leases.take("abc")
    with pytest.raises(FileNotFoundError):
        Leases(claims.parent / "nowhere", stale_s=5).take("abc")


def full(*_):
    raise OSError("planted: no space")


def test_only_ones_own_lease_is_given_back(claims):
    with Leases(claims.parent, stale_s=1e9) as leases:
        assert all(leases.take(key) for key in ("mine", "theirs"))
        # taken over while this machine slept
        (claims / "theirs").write_text(json.dumps(LIVING), encoding="utf-8")
        leases.release("never taken")
        assert not leases.take("mine")
        leases.release("mine")
        assert leases.take("mine")
        (claims / "foreign").write_text("", encoding="utf-8")
        leases.free("foreign")
    assert {path.name for path in claims.iterdir()} == {"theirs", "foreign"}


def test_leases_are_kept_fresh_five_times_before_they_are_stale(claims, monkeypatch):
    leases, waits = Leases(claims.parent, stale_s=10), []
    assert all(leases.take(key) for key in ("abc", "gone", "held"))
    for key in ("abc", "held"):
        os.utime(claims / key, (0, 0))
    (claims / "gone").unlink()
    monkeypatch.setattr(leases._over, "wait", lambda wait_s: len(waits) == 1 or waits.append(wait_s))
    leases._keep_fresh()
    assert waits == [2.0]
    assert all(time.time() - (claims / key).stat().st_mtime < 60 for key in ("abc", "held"))


def test_a_lease_is_kept_fresh_while_it_is_held(tmp_path):
    folder = tmp_path / "of" / "a sweep"
    with Leases(folder, stale_s=1) as leases:
        assert set(leases.me) == {"machine", "pid", "born", "token"}
        leases.take("abc")
        path = folder / "claims" / "abc"
        os.utime(path, (0, 0))
        wait_for(lambda: time.time() - path.stat().st_mtime < 10)


def test_a_job_that_is_taken_twice_over_is_counted_once(claims):
    for name in ("abc", "abc.1", "def.2", ".clock"):
        (claims / name).touch()
    assert under_way(claims.parent) == 2
    assert under_way(claims.parent / "nowhere") == 0


def test_who_acts_on_an_old_listing_gives_the_lease_back(tmp_path, monkeypatch):
    path = tmp_path / "claims" / "abc"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")

    def meanwhile(leases, seen):  # one took the dead lease's job and gave it back, then another began it
        seen.unlink()
        seen.write_text('{"machine": "a faster one"}', encoding="utf-8")
        return True

    monkeypatch.setattr(Leases, "_dead", meanwhile)
    assert not Leases(tmp_path, stale_s=5).take("abc")
    assert [(p.name, p.read_text(encoding="utf-8")) for p in path.parent.iterdir()] == [
        ("abc", '{"machine": "a faster one"}')
    ]


def test_a_dead_drivers_lease_that_another_clears_away_is_taken_all_the_same(claims, monkeypatch):
    (claims / "abc").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(Leases, "_dead", lambda leases, seen: seen.unlink() or True)
    assert Leases(claims.parent, stale_s=5).take("abc")
    assert [path.name for path in claims.iterdir()] == ["abc.1"]


def test_of_many_drivers_that_see_a_stale_lease_one_gets_it(tmp_path):
    (tmp_path / "claims").mkdir()
    keys = [f"key{i:02}" for i in range(20)]
    for key in keys:
        path = tmp_path / "claims" / key
        path.write_text("{}", encoding="utf-8")
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
