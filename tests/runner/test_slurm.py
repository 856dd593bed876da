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
from svdsweep.runner.contract import Batch
from svdsweep.runner.scheduler import cost
from svdsweep.runner.slurm import batch, in_queue, parameters, shards, submitted


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


def test_without_slurm_it_is_refused_in_a_sentence(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="needs SLURM's commands"):
        list(run_jobs([fakes.job()], fakes.load, Runner(name="slurm"), folder, Heard()))


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
    rows = list(run_jobs(jobs, fakes.load, options(), folder, Heard()))
    assert Counter(row.status for row in rows) == {"ok": 8, "failed": 1, "crashed": 2, "oom": 1}
    assert set(ran(folder).values()) == {1}
    assert len(list((folder / "rows").iterdir())) == 2
    again = list(run_jobs(jobs, fakes.load, options(), folder, Heard()))
    assert sorted((row.job.seed, row.attempt) for row in again) == [(2, 2), (3, 2), (4, 2)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_overhead_on_slurm(folder, on_slurm):
    began = time.perf_counter()
    jobs = [fakes.job(i) for i in range(1000)]
    times = [
        time.perf_counter() - began for _ in run_jobs(jobs, fakes.load_noop, options(1), folder, Heard())
    ]
    each = 1000 * (times[-1] - times[0]) / len(jobs)
    print(f"first row after {times[0]:.2f} s, then {each:.2f} ms a job in one shard")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_preempted_shard_is_requeued_and_goes_on_where_it_was(folder, on_slurm):
    jobs = [fakes.job(i, "wait go" if i == 4 else "") for i in range(8)]
    heard = Heard()
    rows = run_jobs(jobs, fakes.load, options(1), folder, heard)
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
    rows = run_jobs(jobs, fakes.load, options(1), folder, heard)
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
