"""What the runner's tests share: a sweep here or in a process of its own, and looking for what it left behind."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import fakes
import psutil

from svdsweep.config import Runner
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.store.rows import read_rows

HERE = Path(__file__).parent


class Heard(Watch):
    """A watch that remembers what it was told."""

    def __init__(self):
        self.texts, self.phases, self.jobs_elsewhere = [], [], 0

    def told(self, text):
        self.texts.append(text)

    def reached(self, worker, phase, vram_peak_gib):
        self.phases.append(phase)

    def elsewhere(self, jobs):
        self.jobs_elsewhere += jobs


def cpu(workers=2, **options):
    return Runner(devices="cpu", workers_per_device=workers, **options)


def sweep(folder, jobs, options=None, load=fakes.load, watch=None):
    """Run jobs in this process; the rows in the order of their arrival."""
    return list(run_jobs(jobs, load, options or cpu(), folder, watch or Watch()))


def stored(folder):
    return list(read_rows(folder))


def ran(folder):
    """How often each key was begun."""
    path = folder / "ran"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return Counter(line.split()[0] for line in lines)


def start_driver(folder, jobs, clock_step_s=0, prefix=(), **options):
    """A sweep of (seed, does) pairs in a process of its own, which prints a line a row.

    Its clock is off by `clock_step_s`; `prefix` is a command that starts it."""
    plan = {"folder": str(folder), "jobs": jobs, "options": options, "clock_step_s": clock_step_s}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])}
    return subprocess.Popen(
        [*prefix, sys.executable, str(HERE / "driver.py"), json.dumps(plan)],
        env={**environment, "SVDSWEEP_TEST_FOLDER": str(folder)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def wait_for(condition, limit_s=30.0):
    """Wait until the condition holds; it fails the test otherwise."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def family(folder):
    """The living processes that were started for a sweep, wherever they hang in the tree."""
    ours = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("SVDSWEEP_TEST_FOLDER") == str(folder)
            if is_ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                ours.append(process)
        except psutil.Error:
            continue
    return ours
