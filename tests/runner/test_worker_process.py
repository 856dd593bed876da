"""Whatever happens to a job or its worker: a row for it, none for another, no hang, no orphan."""

import errno
import os
import shutil
import sys
import time
from collections import Counter
from dataclasses import replace
from multiprocessing import Pipe
from types import SimpleNamespace

import fakes
import pytest
from running import SYSTEMS, Heard, cpu, ran, stored, sweep, sweep_on

from svdsweep.errors import Stopped, UserError
from svdsweep.runner.contract import TICK_S
from svdsweep.runner.given_job import GivenJob
from svdsweep.runner.worker_main import _is_the_disks, environment
from svdsweep.runner.worker_process import WorkerProcess
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Slot

pytestmark = pytest.mark.timeout(60)

MATRIX = {
    "": "ok",
    "sleep 0.05": "ok",
    "raise": "failed",
    "sysexit 2": "failed",
    "strange": "failed",
    "nan": "failed",
    "norow": "failed",
    "oom": "oom",
    "poison": "failed",
    "exit 3": "crashed",
    "kill": "crashed",
    "segfault": "crashed",
    "hang": "timeout",
}
HELD = {"held": "crashed"} if hasattr(os, "fork") else {}


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_fault_at_once_gives_a_row_each_and_touches_no_other_job(folder, system):
    matrix = MATRIX | (HELD if system == "this one" else {})
    jobs = [fakes.job(i, does) for i, does in enumerate([*matrix, "", ""])]
    rows = sweep_on(system, folder, [(job.seed, job.image.name) for job in jobs], timeout_s=2)
    assert Counter(row.key for row in rows) == Counter(job.key for job in jobs)
    assert {row.job.image.name: row.status for row in rows} == matrix
    assert set(ran(folder).values()) == {1}
    by_act = {row.job.image.name: row for row in rows}
    for row in rows:
        if row.status not in ("crashed", "timeout"):
            continue
        assert row.phase == "denoise"
        assert row.values["vram_allocated_peak_gib"] == 1.5
        assert f"working on {row.job.seed}" in row.error
        assert all(
            f"working on {job.seed}\n" not in row.error + "\n" for job in jobs if job.seed != row.job.seed
        )
    assert "exit code 3" in by_act["exit 3"].error
    on_windows = system == "windows" or os.name == "nt"
    assert ("exit code" if on_windows else "SIGKILL") in by_act["kill"].error
    assert ("access violation" if on_windows else "SIGSEGV") in by_act["segfault"].error
    assert "Fatal Python error" in by_act["segfault"].error  # where it was, from the log
    assert "ValueError: planted" in by_act["raise"].error
    assert "cannot be stored" in by_act["strange"].error
    assert by_act["strange"].phase == "answer"


@pytest.mark.parametrize(
    "does",
    ["raise", "hang", *(pytest.param(does, marks=pytest.mark.slow) for does in ("oom", "kill", *HELD))],
)
def test_one_fault_among_twelve_jobs(folder, does):
    jobs = [fakes.job(i, does if i == 4 else "") for i in range(12)]
    rows = sweep(folder, jobs, cpu(1, timeout_s=1))
    assert len(rows) == 12
    assert {row.job.seed: row.status for row in rows} == dict.fromkeys(range(12), "ok") | {
        4: (MATRIX | HELD)[does]
    }
    bad = next(row for row in rows if row.job.seed == 4)
    if bad.status in ("crashed", "timeout"):
        assert [line for line in bad.error.splitlines() if line.startswith("working")] == ["working on 4"]
    again = sweep(folder, jobs, cpu(1, timeout_s=1))
    assert [(row.job.seed, row.status, row.attempt) for row in again] == (
        [] if bad.final else [(4, bad.status, 2)]
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_job_that_works_at_the_second_attempt_is_finished_by_the_same_command(folder, system):
    jobs = [(0, "once"), (1, "")]
    assert {row.status for row in sweep_on(system, folder, jobs)} == {"failed", "ok"}
    assert [(row.status, row.attempt) for row in sweep_on(system, folder, jobs)[2:]] == [("ok", 2)]
    assert sweep(folder, [fakes.job(0, "once"), fakes.job(1)]) == []


def test_a_device_gets_a_fresh_process_after_out_of_memory_and_after_a_cuda_error(folder):
    acts = ["", "oom", "", "poison", "", "raise", ""]
    rows = sweep(folder, [fakes.job(i, does) for i, does in enumerate(acts)], cpu(workers=1))
    pids = [row.values["pid"] for row in rows if row.status == "ok"]
    assert len(set(pids)) == 3
    assert pids[2] == pids[3]  # a plain failure spoils nothing


@pytest.mark.parametrize("earlier", [{"compile": "whole"}, {}], ids=str)
@pytest.mark.parametrize("later", [{"cudnn_benchmark": True}, {}], ids=str)
def test_a_process_is_spent_by_a_strategy_that_changes_it_and_not_fit_for_one(earlier, later):
    last, job = fakes.job(0, **earlier), fakes.job(1, **later, fused_qkv=True)
    process = SimpleNamespace(given=SimpleNamespace(job=last), options=cpu(), _spoilt=False)
    assert WorkerProcess.needs_fresh_process(process, job) == bool(earlier or later)
    assert not WorkerProcess.needs_fresh_process(process, fakes.job(2, **earlier)), "the same pipeline"
    other = fakes.job(1, **earlier, model=replace(last.model, dtype="float16"))
    assert WorkerProcess.needs_fresh_process(process, other) == bool(earlier), "the strategy of another model"
    process.given = None
    assert not WorkerProcess.needs_fresh_process(process, job)


def test_the_tail_of_a_log_is_what_a_terminal_would_show_of_the_last_lines_of_this_job(folder):
    worker = WorkerProcess("w-1", Slot("cpu", folder), "fakes:load", cpu(), Heard())
    worker.log.parent.mkdir(exist_ok=True)
    earlier = "of the job before\n" * 9
    worker.log.write_text(earlier + "1 %\r50 %\r99 %\n\n  \nlast\n", encoding="utf-8", newline="")
    worker._log_from = len(earlier)
    assert worker._tail() == "99 %\nlast"
    worker.log.write_text(earlier + "".join(f"line {i}\n" for i in range(30)), encoding="utf-8")
    assert worker._tail().splitlines() == [f"line {i}" for i in range(10, 30)]
    assert worker.idle_s > 60
    worker._rest()
    assert worker.idle_s < 60


def test_a_silent_process_is_looked_at_once_a_tick_however_often_others_speak(folder, monkeypatch):
    worker, looks, ticks = WorkerProcess("w-1", Slot("cpu", folder), "fakes:load", cpu(), Heard()), [], [0.0]
    worker.pipe, theirs = Pipe()
    worker._process = SimpleNamespace(poll=lambda: looks.append(ticks[0]))
    monkeypatch.setattr(time, "monotonic", lambda: 100 + TICK_S * ticks[0])
    with worker.pipe, theirs:
        for ticks[0] in (0, 0.25, 0.75, 1, 1.5, 2.5, 3, 3.5):
            assert worker.step(False) is None
        theirs.send(("broken", "heard at once"))
        worker.step(True)
    assert looks == [0, 1, 2.5, 3.5]
    assert worker.cause == "heard at once"


def test_a_workers_line_is_stored_as_it_came_if_all_of_the_row_is_in_it(folder, monkeypatch):
    worker = WorkerProcess("w-1", Slot("cpu", folder), "fakes:load", cpu(), Heard())
    given = GivenJob(fakes.job(), 2, "w-1", "cpu")
    given.reached("denoise", None)
    monkeypatch.setenv("HF_TOKEN", "hf_aB3dE5fG7h")

    def is_stored(status="ok", attempt=2, facts=given.facts, **fields):
        line = Row(given.job, status, attempt, provenance={**facts, "torch": "2"}, **fields).to_json()
        row = worker._answered(given, line)
        assert worker.line in ("", line)
        assert (row.job, row.attempt, row.provenance) == (given.job, 2, {**given.facts, "torch": "2"})
        return worker.line == line

    assert is_stored()
    assert is_stored("failed", phase="metrics", error="planted")
    assert not is_stored("failed", error="planted"), "the driver knows the phase"
    assert not is_stored(attempt=1)
    assert not is_stored(facts={})
    assert not is_stored(notes=["401 for hf_aB3dE5fG7h"]), "a secret"
    assert not is_stored(values={"nonfinite_values": 3}), "defective"
    assert is_stored()
    worker._ended(given, given.lost("timeout", "late", ""))
    assert not worker.line


def test_what_the_driver_stores_of_a_sound_job_is_what_its_worker_wrote(folder, monkeypatch):
    write, written = Row.to_json, []
    monkeypatch.setattr(Row, "to_json", lambda row: written.append(row.status) or write(row))
    rows = sweep(folder, [fakes.job(0), fakes.job(1), fakes.job(2, "exit 3")], cpu(workers=1, attempts=1))
    assert written == ["crashed"]
    assert sorted(stored(folder), key=lambda row: row.job.seed) == sorted(rows, key=lambda row: row.job.seed)


@pytest.mark.parametrize(
    ("number", "where", "disks"),
    [
        *((errno.ENOSPC, "elsewhere", True), (errno.EDQUOT, None, True), (errno.EROFS, "videos/x.mp4", True)),
        *(
            (errno.EACCES, "videos/x.mp4", True),
            (errno.EACCES, "elsewhere", False),
            (errno.EACCES, None, False),
        ),
        (errno.ENOENT, "videos/x.mp4", False),
    ],
)
def test_it_is_the_disks_fault_when_it_is_full_or_the_sweeps_folder_cannot_be_written(
    folder, number, where, disks
):
    name = where and str(folder / where if "/" in where else folder.parent / where)
    assert _is_the_disks(OSError(number, "planted", name), folder) is disks


@pytest.mark.parametrize(("device", "visible"), [("cpu", ""), ("GPU-1", "GPU-1")])
def test_a_worker_sees_its_device_alone_and_every_library_keeps_to_its_cores(folder, device, visible):
    told = environment(Slot(device, folder, 3))
    assert (told["CUDA_VISIBLE_DEVICES"], told["CUDA_DEVICE_ORDER"]) == (visible, "PCI_BUS_ID")
    libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert [told[name] for name in libraries] == ["3"] * 3


@pytest.mark.parametrize(
    ("load", "why"),
    [(fakes.load_never, "the weights are gone"), (fakes.load_dies, "exit code 7\ndying words")],
)
def test_a_load_that_always_fails_ends_the_sweep_after_two_starts_with_its_cause_once(folder, load, why):
    with pytest.raises(UserError) as caught:
        sweep(folder, [fakes.job(i) for i in range(12)], load=load)
    assert str(caught.value).count(why) == 1
    assert "12 jobs are left" in str(caught.value)
    assert stored(folder) == []
    assert sum(log.read_text(encoding="utf-8").count("UTC, cpu") for log in (folder / "logs").iterdir()) == 4


def test_a_start_that_hangs_is_given_up(folder):
    with pytest.raises(UserError, match="not ready after 1 s"):
        sweep(folder, [fakes.job()], cpu(workers=1, start_timeout_s=1), load=fakes.load_hangs)


def test_a_worker_that_dies_while_loading_blames_no_job(folder):
    rows = sweep(folder, [fakes.job(i) for i in range(4)], cpu(workers=1), load=fakes.load_once_in_two)
    assert [row.status for row in rows] == ["ok"] * 4


def test_a_worker_that_dies_before_it_takes_its_job_blames_no_job(folder):
    jobs = [fakes.job(i) for i in range(4)]
    rows = sweep(folder, jobs, cpu(workers=1), load=fakes.load_dies_before_its_first_job)
    assert [(row.status, row.attempt) for row in rows] == [("ok", 1)] * 4
    assert set(ran(folder).values()) == {1}


@pytest.mark.parametrize("does", ["full", "fullrow"])
def test_a_full_disk_under_a_video_stops_the_sweep_and_blames_no_job(folder, does):
    jobs = [fakes.job(i, does if i == 3 else "") for i in range(12)]
    with pytest.raises(UserError, match="No space left on device"):
        sweep(folder, jobs, cpu(workers=1))
    assert {row.status for row in stored(folder)} == {"ok"}
    assert 3 not in {row.job.seed for row in stored(folder)}
    finished = len(stored(folder))
    assert len(sweep(folder, [fakes.job(i) for i in range(12)])) == 12 - finished


def test_what_a_dead_worker_was_writing_goes(folder):
    assert {row.status for row in sweep(folder, [fakes.job(0, "half"), fakes.job(1, "encode 0")])} == {
        "crashed",
        "ok",
    }
    assert [path.name for path in (folder / "videos").iterdir()] == [f"{fakes.job(1).key}.mp4"]


def test_a_failure_to_write_on_a_sound_disk_is_the_jobs_own(folder):
    rows = sweep(folder, [fakes.job(0, "badvideo"), fakes.job(1), fakes.job(2, "denied")])
    assert {row.job.seed: row.status for row in rows} == {0: "failed", 1: "ok", 2: "failed"}


def test_a_full_disk_under_the_rows_stops_the_sweep(folder):
    import socket

    (folder / "rows").mkdir()
    (folder / "rows" / f"{socket.gethostname()}-{os.getpid()}.jsonl").symlink_to("/dev/full")
    with pytest.raises(Stopped, match=r"cannot be written.*No space left on device"):
        sweep(folder, [fakes.job(i) for i in range(4)])


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps folders whose files are open")
def test_a_folder_that_vanishes_stops_the_sweep_and_says_so(folder):
    class Vandal(Heard):
        def finished(self, worker, row, left_s):
            shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(Stopped, match="That folder is gone") as caught:
        sweep(folder, [fakes.job(i, "sleep 0.05") for i in range(40)], cpu(workers=1), watch=Vandal())
    assert caught.value.exit_code == 1


def test_a_folder_that_cannot_be_written_is_refused(folder):
    (folder / "logs").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        sweep(folder, [fakes.job()])


def test_a_torn_last_line_is_run_again_and_harms_no_other(folder):
    jobs = [fakes.job(i) for i in range(4)]
    sweep(folder, jobs)
    path = next((folder / "rows").iterdir())
    path.write_bytes(path.read_bytes()[:-40])
    assert len(sweep(folder, jobs)) == 1
    assert {row.key for row in stored(folder)} == {job.key for job in jobs}


def test_fail_fast_stops_at_the_first_failure(folder):
    heard = Heard()
    jobs = [fakes.job(i, "raise" if i == 0 else "sleep 0.05") for i in range(12)]
    rows = sweep(folder, jobs, cpu(fail_fast=True), watch=heard)
    assert len(rows) < 6
    assert any("fail_fast" in text for text in heard.texts)


def test_a_load_that_no_worker_could_import_is_refused(folder):
    with pytest.raises(UserError, match="cannot be imported"):
        sweep(folder, [fakes.job()], load=lambda slot: None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts its kills")
def test_a_kill_by_the_kernel_for_host_memory_is_told_as_such(folder, monkeypatch):
    counts = iter([5, 6])
    monkeypatch.setattr("svdsweep.platforms.linux.oom_kills", lambda: next(counts))
    (row,) = sweep(folder, [fakes.job(0, "kill")], cpu(workers=1))
    assert row.status == "crashed"
    assert "out-of-memory killer" in row.error
    assert "GiB of host memory" in row.notes[0]


def test_another_kill_is_not_taken_for_one_of_memory(folder):
    (row,) = sweep(folder, [fakes.job(0, "kill")], cpu(workers=1))
    assert "out-of-memory" not in row.error
