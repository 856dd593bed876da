"""Thirty SIGKILLs over one sweep: encoders in mid-video, random workers, the driver.

Videos are made before the next job begins, or beside it."""

import random
from collections import Counter, defaultdict
from functools import partial

import fakes
import psutil
import pytest
from running import SYSTEMS, family, start_driver, stored, wait_for

from svdsweep.config import Runner
from svdsweep.images.ffmpeg import frames_in
from svdsweep.runner.pending import pending
from svdsweep.store.rows import Store

KILLS, JOBS = 30, 60


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("does", ["encode", "judge"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_after_thirty_kills_every_job_has_one_final_row_and_nothing_finished_ran_twice(folder, system, does):
    draw = random.Random(6)
    jobs = [(i, f"{does} {draw.uniform(0.2, 0.4):.2f}") for i in range(JOBS)]
    keys = {fakes.job(i).key for i in range(JOBS)}
    attempts = 1000
    driver, killed_drivers = start_driver(folder, jobs, system, attempts=attempts), 0
    for i in range(KILLS):
        _wait_for_workers(driver)
        if i % 3 == 2:
            driver.kill()
            driver.wait()
            killed_drivers += 1
            wait_for(lambda: not family(folder))
            driver = start_driver(folder, jobs, system, attempts=attempts)
        elif i % 3 == 1:
            draw.choice(_workers(driver)).kill()
        else:
            wait_for(partial(_killed_an_encoder, driver))
        _wait_for_another_start(folder)
    assert driver.wait(120) == 0
    rows = stored(folder)
    final = Counter(row.key for row in rows if row.final)
    assert final == dict.fromkeys(keys, 1)
    assert pending([fakes.job(i) for i in range(JOBS)], Store(folder).rows(), Runner()) == []
    for row in rows:
        if row.status == "ok":
            assert frames_in(folder / row.values["video"]) == row.job.num_frames
    assert {p.stem for p in (folder / "videos").iterdir()} == keys
    begun = defaultdict(int)
    for line in (folder / "ran").read_text(encoding="utf-8").splitlines():
        begun[line.split()[0]] += 1
    lost = Counter(row.key for row in rows if not row.final)
    encoders = [row for row in rows if row.status == "failed"]
    if system != "windows":  # which has no signals to name
        assert all("killed by SIGKILL" in row.error for row in encoders)
    lost_in_flight = sum(begun[key] - 1 - lost[key] for key in keys)
    print(
        f"{len(rows)} rows, {lost.total() - len(encoders)} crashed, {len(encoders)} lost their encoder, "
        f"{lost_in_flight} in flight when their driver died"
    )
    # of each of two workers one job, and one whose frames are judged beside it; with a worker alone, at most those two
    at_most = 2 * killed_drivers if does == "encode" else 4 * killed_drivers + 2 * KILLS // 3
    assert 0 <= lost_in_flight <= at_most
    assert not list((folder / "claims").iterdir())


def _wait_for_workers(driver):
    wait_for(lambda: driver.poll() is not None or _workers(driver))
    assert driver.poll() is None, "the sweep was over before the kills"


def _workers(driver):
    try:
        return psutil.Process(driver.pid).children()
    except psutil.Error:
        return []


def _killed_an_encoder(driver):
    try:
        children = [child for worker in _workers(driver) for child in worker.children()]
        encoders = [child for child in children if "rawvideo" in child.cmdline()]
        for encoder in encoders[:1]:
            encoder.kill()
    except psutil.Error:  # over before it could be killed
        return False
    return bool(encoders)


def _wait_for_another_start(folder):
    """Let the sweep go on a little: until some job more has begun."""
    path = folder / "ran"
    size = path.stat().st_size if path.exists() else 0
    wait_for(lambda: path.exists() and path.stat().st_size > size)
