"""The array of shards; on a real SLURM of one node where its daemons can be started."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, replace
from types import SimpleNamespace

import fakes
import pytest
from running import HERE, Heard, family, ran, start_driver, wait_for
from slurm_node import missing, slurm

from svdsweep.config import Runner, Slurm
from svdsweep.errors import UserError
from svdsweep.runner import run_jobs
from svdsweep.runner import slurm as engine
from svdsweep.runner.contract import Batch
from svdsweep.runner.scheduler import cost
from svdsweep.runner.slurm import batch, in_queue, parameters, shards, submitted
from svdsweep.store.rows import Row, Store


def test_shards_are_of_equal_work_and_part_few_groups():
    jobs = [
        fakes.job(s, forward_chunk_size=g + 1, num_inference_steps=5 * g + 5)
        for s in range(8)
        for g in range(5)
    ]
    parts = shards(jobs, 4)
    assert Counter(j.key for part in parts for j in part) == Counter(j.key for j in jobs)
    work = [sum(map(cost, part)) for part in parts]
    assert max(work) < 1.2 * min(work)
    assert sum(len({j.pipeline_key for j in part}) for part in parts) <= 5 + 3
    assert len(shards(jobs[:2], 4)) == 2


def test_what_is_not_set_is_left_to_the_cluster():
    asked = parameters(Slurm(partition="gpu", container="image.sqsh", mem_gib=32, shards=3), "mine")
    unset = {
        "gres": "gpu:1",
        "cpus_per_task": 4,
        "job_name": "svdsweep-mine",
        "time": 240,
        "signal_delay_s": 90,
    }
    assert asked == {
        **unset,
        "partition": "gpu",
        "mem": "32G",
        "srun_args": ["--container-image=image.sqsh"],
        "array_parallelism": 3,
    }
    every = Slurm(account="a", qos="q", constraint="c", gres=None, cpus_per_task=2, time_min=7, signal_s=9)
    other = parameters(replace(every, setup=["module load cuda"], requeues=1, poll_s=3.0), "b")
    assert other == {
        "account": "a",
        "qos": "q",
        "constraint": "c",
        "cpus_per_task": 2,
        "job_name": "svdsweep-b",
        "time": 7,
        "setup": ["module load cuda"],
        "array_parallelism": 4,
        "signal_delay_s": 9,
    }


@pytest.mark.parametrize(
    ("code", "out", "error", "states"),
    [
        (
            0,
            "RUNNING None\nPENDING Priority\nCOMPLETED None\nFAILED NonZeroExitCode\n",
            "",
            ["PENDING Priority", "RUNNING None"],
        ),
        (0, "TIMEOUT TimeLimit\nCANCELLED None\nNODE_FAIL None\nOUT_OF_MEMORY None\n", "", []),
        (1, "", "slurm_load_jobs error: Invalid job id specified", []),
        (1, "", "Unable to contact slurm controller", None),
    ],
)
def test_the_queue_tells_what_is_not_over_and_silence_is_not_the_end(
    monkeypatch, tmp_path, code, out, error, states
):
    answer = SimpleNamespace(returncode=code, stdout=out, stderr=error)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/squeue")
    assert in_queue("77") == states
    assert batch(tmp_path) is None
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "submitted.json").write_text('{"array": "77"}', encoding="utf-8")
    counts = None if states is None else dict.fromkeys((s.split()[0].lower() for s in states), 1)
    assert batch(tmp_path) == Batch("77", counts)


def test_a_shard_runs_what_was_not_tried_since_the_array_was_submitted(tmp_path, monkeypatch):
    jobs, heard = [fakes.job(seed) for seed in range(4)], []
    store = Store(tmp_path, "earlier")
    for job, attempt in zip(jobs[:3], (2, 3, 1), strict=True):
        store.append(Row(job, "failed", attempt=attempt))

    def run(left, load, options, store, watch, signals):
        heard.extend([[job.seed for job in left], load, options, store.folder, signals])
        return iter(left)

    monkeypatch.setattr(engine.local, "run", run)
    asked = Runner(name="slurm", devices="cpu", attempts=7)
    before = {jobs[0].key: 2, jobs[1].key: 2}
    assert engine.Shard(jobs, "fakes:load", asked, tmp_path, before)() == 2
    assert heard == [[0, 3], fakes.load, replace(asked, name="local"), tmp_path, False]


@pytest.fixture
def queued(tmp_path, monkeypatch):
    """A cluster whose queue answers what is put into it, a step at each look; what was submitted, what was told."""
    seen = SimpleNamespace(
        states=[], steps=[], submitted=[], heard=Heard(), jobs=[fakes.job(i) for i in range(3)]
    )
    seen.store, seen.array = Store(tmp_path, "shard"), "77"
    seen.heard.opened = lambda *facts: seen.heard.texts.append(facts)

    def submit(todo, load, options, folder, before):
        seen.submitted.append(([job.seed for job in todo], load, dict(before)))
        seen.array = "78"
        return seen.array

    monkeypatch.setattr(engine, "submitted", lambda _: seen.array)
    monkeypatch.setattr(engine, "in_queue", lambda _: seen.states.pop(0) if seen.states else [])
    monkeypatch.setattr(engine, "_submit", submit)
    monkeypatch.setattr(engine, "QUEUE_EVERY", 1)
    monkeypatch.setattr(engine.time, "sleep", lambda _: [seen.store.append(row) for row in seen.steps.pop(0)])
    return seen


def test_a_driver_comes_back_to_its_array_and_submits_only_what_that_left(tmp_path, queued):
    Store(tmp_path, "earlier").append(Row(queued.jobs[0], "failed", attempt=1))
    queued.states = [None, None, ["RUNNING None"], ["RUNNING None"], [], ["RUNNING None"]]
    # at first SLURM does not answer; a row of the attempt before is no news
    queued.steps = [
        [],
        [],
        [Row(queued.jobs[0], "ok", attempt=2)],
        [],
        [Row(j, "ok") for j in queued.jobs[1:]],
    ]
    rows = list(run_jobs(queued.jobs, fakes.load, Runner(name="slurm"), Store(tmp_path), queued.heard))
    assert [(row.job.seed, row.attempt) for row in rows] == [(0, 2), (1, 1), (2, 1)]
    assert [(seeds, load) for seeds, load, _ in queued.submitted] == [([1, 2], "fakes:load")]
    assert queued.heard.texts[:4] == [
        (3, ["slurm"]),
        "Array 77 of this sweep is in the queue; watching it before anything is submitted.",
        "Array 77: 1 running",
        "Array 77: no task left",
    ]
    assert queued.heard.texts[4].startswith("Array 77 has ended and left 2 jobs undone;")
    assert queued.heard.texts[5].startswith("Submitted array 78;")


@pytest.mark.parametrize("array", [None, "77"])
def test_what_no_array_has_is_submitted_with_the_attempts_so_far(tmp_path, queued, array):
    Store(tmp_path, "earlier").append(Row(queued.jobs[2], "failed", attempt=2))
    queued.array, queued.states = array, [[]] * bool(array)  # the earlier array is over
    queued.states.append(["PENDING Priority", "PENDING Priority"])
    queued.steps = [[Row(job, "ok", attempt=3) for job in queued.jobs]]
    rows = run_jobs(queued.jobs, fakes.load, Runner(name="slurm"), Store(tmp_path), queued.heard)
    assert [row.job.seed for row in rows] == [0, 1, 2]
    before = {job.key: attempts for job, attempts in zip(queued.jobs, (0, 0, 2), strict=True)}
    assert queued.submitted == [([0, 1, 2], "fakes:load", before)]
    assert "Array 78: 2 pending priority" in queued.heard.texts
    assert list(run_jobs(queued.jobs, fakes.load, Runner(name="slurm"), Store(tmp_path), queued.heard)) == []
    assert len(queued.submitted) == 1


def test_without_slurm_it_is_refused_in_a_sentence(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="needs SLURM's commands"):
        list(run_jobs([fakes.job()], fakes.load, Runner(name="slurm"), Store(folder), Heard()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("submitit", reason="submitit is not installed")
    if why := missing():
        pytest.skip(why)
    try:
        node = slurm(tmp_path_factory.mktemp("slurm"))
        environment = node.__enter__()
    except RuntimeError as e:
        pytest.skip(f"SLURM does not start here: {e}")
    yield environment
    node.__exit__(None, None, None)


@pytest.fixture
def on_slurm(cluster, monkeypatch):
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster[name])
    paths = [str(HERE), *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # sbatch hands it on; users install the package


def options(shard_count=2, **asked):
    asked = {"gres": None, "cpus_per_task": 1, "poll_s": 0.2, "time_min": 5, "signal_s": 10} | asked
    return Runner(name="slurm", devices="cpu", timeout_s=30, slurm=Slurm(shards=shard_count, **asked))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_array_gives_every_row_whatever_its_jobs_do(folder, on_slurm):
    acts = ["", "", "raise", "kill", "exit 3", "oom", "", "", "", "", "", ""]
    jobs = [fakes.job(i, does) for i, does in enumerate(acts)]
    rows = list(run_jobs(jobs, fakes.load, options(), Store(folder), Heard()))
    assert Counter(row.status for row in rows) == {"ok": 8, "failed": 1, "crashed": 2, "oom": 1}
    assert set(ran(folder).values()) == {1}
    assert len(list((folder / "rows").iterdir())) == 2
    again = list(run_jobs(jobs, fakes.load, options(), Store(folder), Heard()))
    assert sorted((row.job.seed, row.attempt) for row in again) == [(2, 2), (3, 2), (4, 2)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_overhead_on_slurm(folder, on_slurm):
    began = time.perf_counter()
    jobs = [fakes.job(i) for i in range(1000)]
    times = [
        time.perf_counter() - began
        for _ in run_jobs(jobs, fakes.load_noop, options(1), Store(folder), Heard())
    ]
    each = 1000 * (times[-1] - times[0]) / len(jobs)
    print(f"first row after {times[0]:.2f} s, then {each:.2f} ms a job in one shard")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_preempted_shard_is_requeued_and_goes_on_where_it_was(folder, on_slurm):
    jobs = [fakes.job(i, "wait go" if i == 4 else "") for i in range(8)]
    heard = Heard()
    rows = run_jobs(jobs, fakes.load, options(1), Store(folder), heard)
    seen = [next(rows) for _ in range(4)]
    wait_for(lambda: len(ran(folder)) == 5)
    subprocess.run(["scancel", "--signal=USR2", submitted(folder)], check=True)
    wait_for(lambda: "PENDING" in " ".join(in_queue(submitted(folder)) or []))
    wait_for(lambda: not family(folder))
    (folder / "go").touch()
    seen += rows
    assert Counter(row.job.seed for row in seen) == Counter(range(8))
    assert {row.status for row in seen} == {"ok"}
    again = {job.key: 1 for job in jobs} | {jobs[4].key: 2}  # only the job under way was begun twice
    assert ran(folder) == Counter(again)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_closed_driver_comes_back_to_its_array_and_a_killed_shard_is_told(folder, on_slurm):
    asked = {"name": "slurm", "workers_per_device": 1, "slurm": asdict(options(1).slurm)}
    driver = start_driver(folder, [(i, "wait go") for i in range(2)], **asked)
    wait_for(lambda: len(ran(folder)) == 1)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(20) == 130
    heard = Heard()
    jobs = [fakes.job(i, "wait go") for i in range(2)]
    rows = run_jobs(jobs, fakes.load, options(1), Store(folder), heard)
    threading.Timer(1, kill_all_at_once, [folder]).start()
    assert next(rows).status == "ok"
    assert [row.status for row in rows] == ["ok"]
    assert any("is in the queue" in text for text in heard.texts)
    assert any("left 2 jobs undone" in text for text in heard.texts)


def kill_all_at_once(folder):
    """The shard and its workers, so that nothing of it can say goodbye; the next may go on."""
    for process in family(folder):
        if process.pid != os.getpid():
            process.kill()
    (folder / "go").touch()
