"""What a driver has seen of a job in a worker's hands, for the row of a worker that cannot answer."""

import os
from types import SimpleNamespace

import fakes
import psutil

from svdsweep.platforms import host
from svdsweep.runner.given_job import GivenJob
from svdsweep.store.rows import Row


def test_a_job_killed_for_memory_tells_the_largest_peaks_in_gib(monkeypatch):
    held = iter([2**30, 3 * 2**30, 2**31])
    monkeypatch.setattr(host, "oom_kills", lambda: 5)
    monkeypatch.setattr(
        host, "out_of_memory", lambda code, kills: f"Exit code {code} after {kills} kills ended"
    )
    seen = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=next(held)))
    monkeypatch.setattr(psutil, "Process", lambda _: seen)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * 2**30))
    given = GivenJob(fakes.job(), 2, "w-1", "cpu")
    for _ in range(3):
        given.look(os.getpid())
    given.reached("denoise", 1.5)
    given.reached("vae_decode", None)
    row = given.crashed(9, "the last words")
    assert (row.status, row.phase, row.attempt) == ("crashed", "vae_decode", 2)
    assert (row.values["host_ram_peak_gib"], row.values["vram_allocated_peak_gib"]) == (3.0, 1.5)
    used = "last seen with 3.0 of 64.0 GiB of host memory"
    assert row.notes[0] == f"Exit code 9 after 5 kills ended the worker, {used}."
    assert row.error.startswith(row.notes[0])
    assert row.error.endswith("in phase vae_decode\nthe last words")


def test_a_job_killed_by_another_hand_blames_no_memory(monkeypatch):
    monkeypatch.setattr(host, "out_of_memory", lambda code, kills: "")
    row = GivenJob(fakes.job(), 1, "w-1", "cpu").crashed(9, "")
    assert (row.phase, row.error) == ("load", "worker ended: exit code 9")
    assert row.notes == [
        "The peaks are the last that were seen before the worker ended.",
        "The worker's log is logs/w-1.log.",
    ]
    assert row.values == {"vram_allocated_peak_gib": None, "host_ram_peak_gib": None}


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
