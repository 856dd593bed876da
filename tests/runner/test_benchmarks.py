"""What the pool costs, measured and printed; only the bounds that the house promises are held against it."""

import random
import subprocess
import sys
import time

import fakes
import pytest
from running import cpu, sweep

from svdsweep.store.rows import Row, Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_ten_thousand_jobs_that_do_nothing(folder):
    code = (
        "import re, sys, time, fakes; from pathlib import Path; from running import cpu, sweep\n"
        "jobs = [fakes.job(i) for i in range(10_000)]; t = time.perf_counter()\n"
        "rows = sweep(Path(sys.argv[1]), jobs, cpu(2), load=fakes.load_noop)\n"
        "took_s = time.perf_counter() - t\n"
        # not getrusage: its peak survives exec, so a child of a large pytest process begins with pytest's
        "peak_kib = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "print(len(rows), took_s, peak_kib / 2**20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}", str(folder)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    jobs, seconds, gib = map(float, done.stdout.split())
    print(f"{seconds:.1f} s, {1000 * seconds / jobs:.2f} ms a job, {gib:.2f} GiB in the driver")
    began = time.perf_counter()
    for i in range(100):
        Store(folder / "one").append(Row(fakes.job(i), "ok"))
    print(f"of which {10 * (time.perf_counter() - began):.2f} ms to bring a row onto this disk")
    assert jobs == 10_000
    assert gib < 1


def test_eight_fake_devices_and_two_hundred_uneven_jobs_in_ten_groups(folder):
    draw = random.Random(2)
    lengths = [[draw.randint(4, 32) for _ in range(20)] for _ in range(10)]
    jobs = [
        fakes.job(seed, f"sleep {steps / 10 * draw.uniform(0.8, 1.25):.2f}", **settings)
        for group, steps_of_group in enumerate(lengths)
        for seed, steps in enumerate(steps_of_group)
        if (settings := {"forward_chunk_size": group + 1, "num_inference_steps": steps})
    ]
    busy = sum(float(job.image.name.split()[1]) for job in jobs)
    began = time.perf_counter()
    rows = sweep(folder, jobs, cpu(8))
    seconds = time.perf_counter() - began
    print(f"utilisation {busy / 8 / seconds:.3f} over {seconds:.1f} s, starts of the processes included")
    assert len(rows) == 200


def test_overhead_of_a_job_and_of_a_start(folder):
    times = []
    for n in (1, 201):
        began = time.perf_counter()
        sweep(folder / str(n), [fakes.job(i) for i in range(n)], cpu(1), load=fakes.load_noop)
        times.append(time.perf_counter() - began)
    print(f"first row after {times[0]:.2f} s, then {1000 * (times[1] - times[0]) / 200:.2f} ms a job")
