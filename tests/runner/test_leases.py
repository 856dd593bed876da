"""Leases of jobs: two drivers on one folder, and what becomes of the jobs of one that died."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import fakes
import psutil
import pytest
from running import Heard, cpu, ran, start_driver, stored, sweep, wait_for

from svdsweep.platforms import host
from svdsweep.runner import waiting
from svdsweep.runner.leases import Leases, under_way
from svdsweep.runner.queue import open_queue
from svdsweep.runner.waiting import Waiting
from svdsweep.store.processes import own
from svdsweep.store.rows import Row, Store

pytestmark = pytest.mark.timeout(90)
posix = pytest.mark.skipif(os.name == "nt", reason="no process can be stopped there")
LIVING = {**own(), "token": "another driver"}
OLDER = {name: LIVING[name] for name in ("machine", "pid", "born", "token")}
"""As versions wrote it that knew the clock only."""
DEAD = {"machine": host.identity()}


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
    earlier = {"born": LIVING["born"] - 100}  # a process that had the same number
    for owner in (DEAD, OLDER | earlier, LIVING | {"pid": -1}, LIVING | {"pid": "x"}, OLDER | {"born": None}):
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


@pytest.mark.parametrize("owner", [LIVING, OLDER], ids=["now", "older version"])
@pytest.mark.parametrize("step_s", [5, -30])
def test_a_step_of_the_clock_makes_no_living_driver_dead(claims, monkeypatch, owner, step_s):
    (claims / "abc").write_text(json.dumps(owner), encoding="utf-8")
    born = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: born(process) + step_s)
    assert not Leases(claims.parent, stale_s=0).free("abc")


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts in ticks since its boot")


@linux
def test_a_number_that_another_process_has_had_is_no_living_driver(claims):
    space, _, ticks = LIVING["begun"].rpartition(" ")
    (claims / "abc").write_text(json.dumps(LIVING | {"begun": f"{space} {int(ticks) - 1}"}), encoding="utf-8")
    assert Leases(claims.parent, stale_s=1e9).free("abc")


@linux
def test_a_driver_in_another_time_namespace_counts_by_its_signs_of_life(claims):
    (claims / "abc").write_text(json.dumps(LIVING | {"begun": "time:[1] 1"}), encoding="utf-8")
    leases = Leases(claims.parent, stale_s=5)
    assert not leases.free("abc")
    os.utime(claims / "abc", (time.time() - 60,) * 2)
    assert leases.free("abc")


def unshare(*flags):
    """A command that starts another one in namespaces of its own; the test is skipped where the kernel lets none."""
    command = ["unshare", *flags]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} is not allowed here")
    return command


@pytest.mark.slow
def test_two_drivers_one_of_whose_clock_was_set_do_no_job_twice(folder):
    do_no_job_twice(folder, clock_step_s=100)


@pytest.mark.slow
def test_two_drivers_in_two_time_namespaces_do_no_job_twice(folder):
    do_no_job_twice(folder, prefix=unshare("--time", "--boottime", "86400"))


def do_no_job_twice(folder, **odd):
    jobs = [(i, "sleep 0.1") for i in range(10)]
    drivers = [start_driver(folder, jobs, workers_per_device=1, **how) for how in ({}, odd)]
    assert [driver.wait(60) for driver in drivers] == [0, 0]
    assert ran(folder) == Counter({fakes.job(i).key: 1 for i in range(10)})
    assert len(list((folder / "rows").iterdir())) == 2  # both had a part in it


class TakesOver(Heard):
    """A user who does what the driver says."""

    def __init__(self, driver):
        super().__init__()
        self.driver = driver

    def told(self, text):
        super().told(text)
        if f"`kill -9 {self.driver.pid}`" in text:
            self.driver.kill()


@posix
def test_who_waits_for_a_stopped_driver_says_for_whom_and_how_to_take_over(folder, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_S", 0.1)
    other = start_driver(folder, [(0, "hang")])
    wait_for(lambda: ran(folder))
    other.send_signal(signal.SIGSTOP)
    heard = TakesOver(other)
    rows = sweep(folder, [fakes.job(0), fakes.job(1)], cpu(timeout_s=1), watch=heard)
    assert [row.job.seed for row in rows] == [1, 0]
    other.wait()
    (word,) = [text for text in heard.texts if "Waiting" in text]
    whom = f"for 1 jobs of process {other.pid} on {socket.gethostname()}: it is stopped"
    assert re.match(
        rf"Waiting since \d\d:\d\d:\d\d {re.escape(whom)} \(Ctrl-Z\?\), its last sign of life", word
    )


def test_a_waiting_driver_speaks_ever_more_seldom_and_names_the_most_silent(claims, monkeypatch):
    leases, heard, now = Leases(claims.parent, stale_s=60), Heard(), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for i in range(5):
        elsewhere = {"machine": f"host{i}/boot", "pid": 7}
        (claims / f"key{i}").write_text(json.dumps(elsewhere), encoding="utf-8")
        os.utime(claims / f"key{i}", (time.time() - 10 * i - 5,) * 2)
    patience, spoke = Waiting(leases, heard), []
    for now[0] in range(3600):
        before = len(heard.texts)
        patience.goes_on([*(f"key{i}" for i in range(5)), "given back"])
        spoke += [now[0]] * (len(heard.texts) > before)
    assert spoke == [5, 15, 35, 75, 155, 315, 635, 1235, 1835, 2435, 3035]
    assert (
        "for 1 jobs of process 7 on host4: its last sign of life was 45 s ago; after 60 s" in heard.texts[0]
    )
    assert heard.texts[3] == "… and for 2 jobs of 2 other drivers."
    patience.over()
    patience.goes_on(["key0"])
    assert now[0] == 3599
    assert len(heard.texts) == 4 * len(spoke)


def test_a_lease_that_a_dead_driver_left_on_a_job_with_a_row_goes(folder, claims):
    sweep(folder, [fakes.job(0)])
    for key, owner in ((fakes.job(0).key, DEAD), ("of another grid", DEAD), (fakes.job(1).key, LIVING)):
        (claims / key).write_text(json.dumps(owner), encoding="utf-8")
    Store(folder).append(Row(fakes.job(1), "ok"))
    assert sweep(folder, [fakes.job(0)]) == []
    assert {path.name for path in claims.iterdir()} == {"of another grid", fakes.job(1).key}


def test_a_lease_goes_whose_driver_stored_the_row_and_died_while_another_waited(tmp_path):
    with open_queue([fakes.job(0)], cpu(), Store(tmp_path), Heard()) as queue:
        path = tmp_path / "claims" / fakes.job(0).key
        path.write_text(json.dumps(LIVING), encoding="utf-8")
        assert queue.take("w-1") is None
        Store(tmp_path, "another").append(Row(fakes.job(0), "ok"))
        path.write_text(json.dumps(DEAD), encoding="utf-8")
        queue.look()
        assert not len(queue)
        assert list(path.parent.glob("[!.]*")) == []


def test_a_driver_that_has_ended_and_was_not_waited_for_is_dead(claims):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        owner = {"pid": process.pid, "born": psutil.Process(process.pid).create_time(), "begun": ""}
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
        patched.setattr(Leases, "_sign", property(full), raising=False)
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
        assert set(leases.me) == {"machine", "pid", "born", "begun", "token"}
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
