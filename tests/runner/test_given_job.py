"""What a driver has seen of a job in a worker's hands, for the row of a worker that cannot answer."""

import os
import signal
from types import SimpleNamespace

import fakes
import psutil
import pytest

from svdsweep.errors import ending
from svdsweep.runner import host
from svdsweep.runner.given_job import GivenJob
from svdsweep.store.rows import Row


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


def test_a_job_killed_by_another_hand_blames_no_memory(monkeypatch):
    monkeypatch.setattr(host, "oom_kills", lambda: 5)
    row = GivenJob(fakes.job(), 1, "w-1", "cpu").crashed(-signal.SIGKILL, "")
    assert (row.phase, row.error) == ("load", "worker ended: killed by SIGKILL")
    assert row.notes == [
        "The peaks are the last that were seen before the worker ended.",
        "The worker's log is logs/w-1.log.",
    ]
    assert row.values == {"vram_allocated_peak_gib": None, "host_ram_peak_gib": None}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (7, "exit code 7"),
        (-11, "killed by SIGSEGV"),
        (-99, "killed by signal 99"),
        (None, "it closed its pipe and did not exit"),
    ],
)
def test_an_exit_code_is_told_in_words(code, words):
    assert ending(code) == words


def test_an_answer_keeps_the_workers_own_words_and_gets_the_phase_that_it_reached():
    given = GivenJob(fakes.job(1), 3, "w-1", "cuda:0")
    given.reached("denoise", 2.0)
    row = given.answered(Row(fakes.job(1), "failed", provenance={"device": "NVIDIA X"}))
    assert (row.attempt, row.phase) == (3, "denoise")
    assert (row.provenance["worker"], row.provenance["device"]) == ("w-1", "NVIDIA X")
    assert given.answered(Row(fakes.job(1), "failed", phase="write")).phase == "write"
    assert given.answered(Row(fakes.job(1), "ok")).phase == ""
    assert given.answered(Row(fakes.job(1), "defective")).phase == ""
    given.reached("vae_decode", 0.0)
    assert given.lost("timeout", "late", "").values["vram_allocated_peak_gib"] == 0.0


@pytest.mark.parametrize(
    ("lines", "kills"),
    [
        ({"/proc/vmstat": ["oom_kill 3", "oom_kill_x 9"]}, 3),
        ({"/proc/vmstat": ["oom_kill 0"]}, 0),
        ({"/proc/vmstat": ["oom_kill 3"], "/sys/fs/cgroup/a/b/memory.events": ["oom 9", "oom_kill 2"]}, 5),
        ({"/proc/vmstat": ["pgfault 1"]}, None),
        ({}, None),
    ],
)
def test_what_the_kernel_killed_is_counted_here_and_in_the_cgroup(monkeypatch, lines, kills):
    lines = {"/proc/self/cgroup": ["1:name=x:/c", "0::/a/b"], **lines}
    monkeypatch.setattr(host, "_lines", lambda path: lines.get(path.as_posix(), []))
    assert host.oom_kills() == kills
