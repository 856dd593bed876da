"""Ray's actors, on a real Ray of this machine and on a cluster of two simulated machines."""

import os
import signal
import sys
import time
from collections import Counter

import fakes
import psutil
import pytest
from running import HERE, Heard, family, ran, wait_for

from svdsweep.config import Ray, Runner
from svdsweep.errors import UserError
from svdsweep.runner import ray as engine
from svdsweep.runner import run_jobs

OPTIONS = Runner(name="ray", devices="cpu", timeout_s=20, ray=Ray(cpus_per_actor=1))


def test_gpus_by_name_are_refused(folder):
    with pytest.raises(UserError, match="auto or cpu"):
        list(run_jobs([fakes.job()], fakes.load, Runner(name="ray", devices="0"), folder, Heard()))


def test_room_is_what_the_scarcest_resource_leaves():
    assert engine._room({"CPU": 8, "GPU": 2}, gpus=1, cpus=2) == 2
    assert engine._room({"CPU": 3, "GPU": 8}, gpus=1, cpus=1) == 3
    assert engine._room({"CPU": 8}, gpus=0, cpus=2) == 4
    assert engine._room({"CPU": 8}, gpus=1, cpus=2) == 0


@pytest.fixture
def cluster(folder, monkeypatch):
    """A head without room for workers and one machine of two CPUs; the driver has joined."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.first = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_fault_on_ray_is_the_same_row_as_on_the_local_pool(cluster, folder):
    acts = ["", "", "raise", "kill", "exit 3", "oom", "", "strange", "", "", "", ""]
    jobs = [fakes.job(i, does) for i, does in enumerate(acts)]
    rows = list(run_jobs(jobs, fakes.load, OPTIONS, folder, Heard()))
    status = {row.job.seed: row.status for row in rows}
    wrong = {2: "failed", 3: "crashed", 4: "crashed", 5: "oom", 7: "failed"}
    assert status == dict.fromkeys(range(12), "ok") | wrong
    assert set(ran(folder).values()) == {1}
    crashed = next(row for row in rows if row.job.seed == 3)
    assert crashed.phase == "denoise"
    assert "working on 3" in crashed.error
    assert len(list(run_jobs(jobs, fakes.load, OPTIONS, folder, Heard()))) == 4


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_machine_joins_and_another_dies_in_mid_sweep(cluster, folder):
    jobs = [fakes.job(i, "sleep 1.0") for i in range(24)]
    heard, rows, second = Heard(), [], None
    for row in run_jobs(jobs, fakes.load, OPTIONS, folder, heard):
        rows.append(row)
        if len(rows) == 2:
            second = cluster.add_node(num_cpus=2)
        workers = {row.provenance["worker"] for row in rows}
        if second and len(workers) == 4:
            wait_for(lambda: len(ran(folder)) > len(rows))
            cluster.remove_node(second, allow_graceful=False)
            second = None
    assert Counter(row.key for row in rows) == {job.key: 1 for job in jobs}
    statuses = Counter(row.status for row in rows)
    assert 1 <= statuses["crashed"] <= 2
    assert statuses["ok"] == 24 - statuses["crashed"]
    assert any("is lost" in text for text in heard.texts)
    done = list(run_jobs(jobs, fakes.load, OPTIONS, folder, Heard()))
    assert {row.status for row in done} == {"ok"}
    assert len(done) == statuses["crashed"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_actor_that_is_killed_costs_its_own_job_and_is_replaced(cluster, folder):
    jobs = [fakes.job(i, "sleep 0.5") for i in range(8)]
    killed = []
    rows = []
    for row in run_jobs(jobs, fakes.load, OPTIONS, folder, Heard()):
        rows.append(row)
        if len(rows) == 2:
            wait_for(lambda: len(ran(folder)) > len(rows))
            killed = keepers()[:1]
            killed[0].send_signal(signal.SIGKILL)
    assert killed
    assert Counter(row.status for row in rows) == {"ok": 7, "crashed": 1}


def keepers():
    """The actors' processes."""
    every = psutil.process_iter(["cmdline"])
    return [process for process in every if "ray::Keeper" in " ".join(process.info["cmdline"] or [])]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_overhead_on_ray(cluster, folder):
    times = []
    for n in (1, 301):
        began = time.perf_counter()
        list(run_jobs([fakes.job(i) for i in range(n)], fakes.load_noop, OPTIONS, folder / str(n), Heard()))
        times.append(time.perf_counter() - began)
    print(
        f"first row after {times[0]:.2f} s, then {1000 * (times[1] - times[0]) / 300:.2f} ms a job on two actors"
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_files_come_home_where_the_machines_share_none(cluster, folder, monkeypatch):
    monkeypatch.setattr(engine.uuid, "uuid4", lambda: type("Token", (), {"hex": "unseen"}))
    monkeypatch.setattr(engine.Path, "touch", lambda self: None)
    jobs = [fakes.job(i, "video") for i in range(3)]
    rows = list(run_jobs(jobs, fakes.load, OPTIONS, folder, Heard()))
    assert {row.status for row in rows} == {"ok"}
    for job in jobs:
        assert (folder / "videos" / f"{job.key}.mp4").read_bytes() == job.key.encode() * 1000
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_ray_of_ones_own_starts_and_ends_with_the_sweep_and_refuses_a_bad_load(folder, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    assert len(list(run_jobs([fakes.job()], fakes.load, OPTIONS, folder, Heard()))) == 1
    with pytest.raises(UserError, match=r"No worker comes up.*weights are gone"):
        list(run_jobs([fakes.job(1)], fakes.load_never, OPTIONS, folder, Heard()))
    wait_for(lambda: not family(folder))
