"""The driver's own end, two drivers on one folder, and what is set for a worker."""

import json
import os
import signal
import threading
import time
from collections import Counter

import fakes
import pytest
from running import Heard, cpu, family, ran, start_driver, stored, sweep, wait_for

from svdsweep.runner.leases import Leases
from svdsweep.runner.worker_main import environment
from svdsweep.store.rows import Row, Tail
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


def test_a_claim_of_another_machine_is_respected_until_it_gives_no_sign_of_life(tmp_path):
    with Leases(tmp_path, stale_s=5) as claims:
        path = tmp_path / "claims" / "abc"
        path.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "born": 0, "token": "x"}))
        assert not claims.take("abc")
        os.utime(path, (time.time() - 60,) * 2)
        assert claims.free("abc")
        assert claims.take("abc")
        assert [json.loads(p.read_text()) for p in path.parent.glob("abc*")] == [claims.me]
        claims.release("abc")
        assert not list(path.parent.glob("abc*"))


def test_a_claim_is_kept_fresh_while_it_is_held(tmp_path):
    with Leases(tmp_path, stale_s=1) as claims:
        claims.take("abc")
        path = tmp_path / "claims" / "abc"
        os.utime(path, (0, 0))
        wait_for(lambda: time.time() - path.stat().st_mtime < 10)


def test_who_acts_on_an_old_listing_gives_the_claim_back(tmp_path, monkeypatch):
    path = tmp_path / "claims" / "abc"
    path.parent.mkdir()
    path.write_text("{}")

    def meanwhile(claims, seen):  # one took the dead claim's job and gave it back, then another began it
        seen.unlink()
        seen.write_text('{"machine": "a faster one"}')
        return True

    monkeypatch.setattr(Leases, "_dead", meanwhile)
    assert not Leases(tmp_path, stale_s=5).take("abc")
    assert [(p.name, p.read_text()) for p in path.parent.iterdir()] == [
        ("abc", '{"machine": "a faster one"}')
    ]


def test_rows_are_followed_in_whole_lines(tmp_path):
    line = Row(fakes.job(), "ok").to_json().encode() + b"\n"
    path = tmp_path / "rows" / "a.jsonl"
    path.parent.mkdir()
    path.write_bytes(line + line[:30])
    tail = Tail(tmp_path)
    assert len(list(tail.new())) == 1
    with path.open("ab") as f:
        f.write(line[30:])
    assert len(list(tail.new())) == 1
    assert list(tail.new()) == []


def test_of_many_drivers_that_find_a_stale_claim_one_gets_it(tmp_path):
    (tmp_path / "claims").mkdir()
    keys = [f"key{i:02}" for i in range(20)]
    for key in keys:
        path = tmp_path / "claims" / key
        path.write_text("{}")
        os.utime(path, (0, 0))
    taken, start = [], threading.Barrier(8)

    def driver():
        claims = Leases(tmp_path, stale_s=5)
        start.wait()
        taken.extend(key for key in keys if claims.take(key))

    threads = [threading.Thread(target=driver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == Counter(keys)


def test_workers_share_the_cores_fairly_and_log_apart(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    rows = sweep(folder, [fakes.job(i, "sleep 0.2") for i in range(4)])
    assert {row.values["threads"] for row in rows} == {"3"}
    assert len(list((folder / "logs").iterdir())) == 2


def test_threads_that_wait_do_not_spin_unless_the_user_says_so(folder, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert environment(Slot("cpu", folder, 2))["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert environment(Slot("cpu", folder, 2))["OMP_WAIT_POLICY"] == "ACTIVE"


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


def test_rows_of_another_torch_are_kept_and_the_user_is_told_once(folder):
    sweep(folder, [fakes.job(0, "torch 2.6"), fakes.job(1, "torch 2.6")])
    heard = Heard()
    rows = sweep(folder, [fakes.job(i, "torch 2.7") for i in range(4)], watch=heard)
    assert sorted(row.job.seed for row in rows) == [2, 3]
    told = [text for text in heard.texts if "made elsewhere" in text]
    assert told == [text for text in told if "2 rows" in text and "torch 2.6; now torch 2.7" in text]
    assert len(told) == 1
    sweep(folder, [fakes.job(5, "torch 2.7")], watch=(again := Heard()))
    assert any("made elsewhere" in text for text in again.texts)


def test_fresh_runs_all_again_and_counts_the_attempts(folder):
    jobs = [fakes.job(i) for i in range(3)]
    sweep(folder, jobs)
    assert {row.attempt for row in sweep(folder, jobs, cpu(fresh=True))} == {2}
