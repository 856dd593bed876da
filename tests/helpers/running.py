"""What the runner's tests share: a sweep here or in a process of its own, and looking for what it left behind.

Such a process may be given a Windows to run on, by the emulation in `windows/`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import fakes
import psutil
import pytest

from svdsweep.config import Runner
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch, no_more
from svdsweep.store.rows import Store, read_rows

HERE = Path(__file__).parent
EMULATED = pytest.mark.skipif(sys.platform != "linux", reason="Windows is emulated on Linux")
SYSTEMS = ["this one", pytest.param("windows", marks=(EMULATED, pytest.mark.slow))]
STOPS = [signal.SIGINT, signal.SIGTERM] if os.name != "nt" else [signal.CTRL_BREAK_EVENT]
"""What asks a driver of `start_driver` to stop."""


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


def sweep(folder, jobs, options=None, load=fakes.load, watch=None, more=no_more):
    """Run jobs in this process; the rows in the order of their arrival."""
    return list(run_jobs(jobs, load, options or cpu(), Store(folder), watch or Watch(), more))


def stored(folder):
    return list(read_rows(folder))


def ran(folder):
    """How often each key was begun."""
    path = folder / "ran"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return Counter(line.split()[0] for line in lines)


def environment(system):
    """The environment of a Python on this system or on an emulated one."""
    emulation = [str(HERE / "windows")] if system == "windows" else []
    paths = [*emulation, str(HERE), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def start_driver(folder, jobs, system="this one", clock_step_s=0, prefix=(), **options):
    """A sweep of (seed, does) pairs in a process of its own, which prints a line a row.

    Its clock is off by `clock_step_s`; `prefix` is a command that starts it."""
    plan = {"folder": str(folder), "jobs": jobs, "options": options, "clock_step_s": clock_step_s}
    return subprocess.Popen(
        [*prefix, sys.executable, str(HERE / "driver.py"), json.dumps(plan)],
        env={**environment(system), "SVDSWEEP_TEST_FOLDER": str(folder)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def sweep_on(system, folder, jobs, **options):
    """A sweep of (seed, does) pairs to its end, if emulated in a process of its own; all rows of the folder."""
    if system == SYSTEMS[0]:
        sweep(folder, [fakes.job(seed, does) for seed, does in jobs], cpu(**options))
    else:
        with start_driver(folder, jobs, system, **options) as driver:
            assert driver.wait(60) == 0
    return stored(folder)


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
