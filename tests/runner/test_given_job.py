"""What a driver has seen of a job in a worker's hands, for the row of a worker that cannot answer."""

import os
import signal
from types import SimpleNamespace

import fakes
import psutil

from svdsweep.runner import host
from svdsweep.runner.given_job import GivenJob


def test_a_job_killed_for_memory_tells_the_largest_peaks_in_gib(monkeypatch):
    kills, held = iter([5, 6]), iter([2**30, 3 * 2**30, 2**31])
    monkeypatch.setattr(host, "oom_kills", lambda: next(kills))
    seen = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=next(held)))
    monkeypatch.setattr(psutil, "Process", lambda _: seen)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * 2**30))
    given = GivenJob(fakes.job(), 2, "w-1", "cpu")
    for _ in range(3):
        given.look(os.getpid())
    given.reached("denoise", 1.5)
    given.reached("vae_decode", None)
    row = given.crashed(-signal.SIGKILL, "the last words")
    assert (row.status, row.phase, row.attempt) == ("crashed", "vae_decode", 2)
    assert (row.values["host_ram_peak_gib"], row.values["vram_allocated_peak_gib"]) == (3.0, 1.5)
    assert "last seen with 3.0 of 64.0 GiB of host memory" in row.error
    assert row.error.endswith("in phase vae_decode\nthe last words")
