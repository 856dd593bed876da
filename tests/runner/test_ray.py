"""Ray's actors, on a real Ray of this machine and on a cluster of two simulated machines."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fakes
import pandas as pd
import psutil
import pytest
from running import HERE, Heard, family, ran, stored, wait_for

from svdsweep.config import Ray, Runner
from svdsweep.errors import Stopped, UserError
from svdsweep.runner import ray as engine
from svdsweep.runner import ray_head, run_jobs
from svdsweep.runner.ray_actor import MARK, Answer, Keeper
from svdsweep.runner.ray_head import Head
from svdsweep.runner.worker_process import STARTS, Unwritable
from svdsweep.store.rows import Row, Store

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = Runner(name="ray", devices="cpu", timeout_s=20, ray=Ray(cpus_per_actor=1))


def test_gpus_by_name_are_refused(folder):
    with pytest.raises(UserError, match="auto or cpu"):
        list(run_jobs([fakes.job()], fakes.load, Runner(name="ray", devices="0"), Store(folder), Heard()))


def test_room_is_what_the_scarcest_resource_leaves():
    assert engine._room({"CPU": 8, "GPU": 2}, gpus=1, cpus=2) == 2
    assert engine._room({"CPU": 3, "GPU": 8}, gpus=1, cpus=1) == 3
    assert engine._room({"CPU": 8}, gpus=0, cpus=2) == 4
    assert engine._room({"CPU": 8}, gpus=1, cpus=2) == 0


class Lost(Exception):
    """As Ray's own errors: an actor or its machine is gone."""


@pytest.fixture
def driver(tmp_path):
    """A driver's view of a cluster whose machines, actors and answers are made up; three jobs wait."""
    waiting = [fakes.job(seed) for seed in range(3)]
    seen = SimpleNamespace(nodes=[], asked=[], answers={}, killed=[], told=[], back=[], left=[])
    handle = SimpleNamespace(
        ready=SimpleNamespace(remote=lambda: object()), run=SimpleNamespace(remote=lambda *_: object())
    )

    def remote(**resources):
        return lambda keeper: SimpleNamespace(
            remote=lambda *arguments: seen.asked.append((resources, arguments)) or handle
        )

    def get(call):
        if isinstance(seen.answers[call], Exception):
            raise seen.answers[call]
        return seen.answers[call]

    library = SimpleNamespace(
        nodes=lambda: seen.nodes,
        remote=remote,
        get=get,
        kill=seen.killed.append,
        exceptions=SimpleNamespace(RayError=Lost),
    )

    class Waiting(SimpleNamespace):
        def __len__(self):
            return len(waiting)

    queue = Waiting(
        writer="host-1",
        look=lambda: None,
        waiting=3,
        attempt=lambda job: 4,
        put_back=seen.back.append,
        leave=seen.left.append,
        next_round=lambda: 0,
        take=lambda worker, idle_s: waiting.pop(0),
    )
    heard = Heard()
    heard.started = lambda worker, job, attempt: seen.told.append((worker, job.seed, attempt))
    head = SimpleNamespace(call=lambda function, *given, **options: function(*given, **options), dead=False)
    seen.cluster = engine._Cluster(library, head, queue, "fakes:load", OPTIONS, tmp_path, ".seen", heard)
    seen.actor = lambda **facts: engine._Actor(handle, "w-1", **facts)
    return seen


def machine(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "devices", "ray", "actors", "gpus"),
    [
        ([machine(CPU=2), machine(CPU=1), machine(alive=False, CPU=8)], "auto", {}, 3, 0.0),
        ([machine(CPU=2), machine(alive=False, CPU=8)], "auto", {}, 2, 0.0),
        ([machine(CPU=8)], "auto", {}, 3, 0.0),  # no more than there are jobs
        ([machine(CPU=8)], "auto", {"actors": 1}, 1, 0.0),
        ([machine(CPU=8), machine(CPU=8, GPU=1)], "auto", {}, 1, 1.0),
        ([machine(CPU=8, GPU=1)], "auto", {"gpus_per_actor": 0.5}, 2, 0.5),
        ([machine(CPU=8, GPU=1)], "cpu", {}, 3, 0.0),
        ([], "auto", {}, 0, 0.0),
    ],
)
def test_as_many_actors_are_started_as_there_is_room_and_use_for(driver, nodes, devices, ray, actors, gpus):
    driver.nodes, cluster = nodes, driver.cluster
    cluster.options = replace(OPTIONS, devices=devices, ray=replace(OPTIONS.ray, **ray))
    cluster._grow()
    cluster._grow()  # not again so soon
    assert len(cluster.calls) == len(driver.asked) == actors
    assert all(asked["num_gpus"] == gpus and asked["num_cpus"] == 1 for asked, _ in driver.asked)
    assert [arguments[0] for _, arguments in driver.asked] == [f"host-1-ray{i}" for i in range(actors)]
    assert all(arguments[-1] == (gpus > 0) for _, arguments in driver.asked)
    assert bool(cluster.watch.texts) == (not actors)


@pytest.mark.parametrize(
    ("failed", "died", "up", "hopeless"),
    [(2, 0, False, True), (0, 20, False, True), (1, 19, False, False), (2, 20, True, False)],
)
def test_a_sweep_goes_on_as_long_as_a_worker_may_come_up(driver, failed, died, up, hopeless):
    cluster = driver.cluster
    cluster.failed, cluster.died, cluster.cause = failed, died, "why"
    cluster.idle = [driver.actor(up=True)] * up
    if hopeless:
        with pytest.raises(UserError, match="No worker comes up, so 3 jobs are left: why"):
            cluster._goes_on()
    else:
        assert cluster._goes_on()


def test_an_actor_that_dies_costs_its_job_an_attempt_and_one_that_does_not_come_up_none(driver):
    cluster, job = driver.cluster, fakes.job(7)
    driver.answers = {
        "dead": Lost("gone\nand more"),
        "why": Answer(why="no GPU"),
        "full": Answer(why="x", unwritable=True),
    }
    row = cluster._answered("dead", driver.actor(up=True, job=job))
    assert (row.status, row.attempt, row.provenance["worker"]) == ("crashed", 4, "w-1")
    assert row.error == "the actor or its machine died: Lost: gone"
    assert (cluster.died, cluster.failed, driver.back) == (0, 0, [])
    assert cluster._answered("dead", driver.actor()) is None
    assert (cluster.died, cluster.failed) == (1, 0)
    assert cluster._answered("why", driver.actor(job=job)) is None
    assert (cluster.died, cluster.failed, driver.back, cluster.cause) == (1, 1, [job], "no GPU")
    assert driver.left == ["w-1"] * 3
    assert ["is lost" in text for text in cluster.watch.texts] == [True]
    with pytest.raises(Unwritable):
        cluster._answered("full", driver.actor(job=job))


def test_an_answer_is_the_drivers_own_job_with_its_files_and_the_actor_is_idle_from_then_on(driver, tmp_path):
    cluster, job = driver.cluster, fakes.job(7)
    cluster.failed = cluster.died = 1
    foreign = replace(job, image=replace(job.image, name="another"))
    driver.answers = {"row": Answer(Row(foreign, "ok"), {"videos/a.mp4": b"video"}), "ready": Answer()}
    actor = driver.actor(job=job, up=True, since=0.0)
    assert cluster._answered("row", actor).job is job
    assert (tmp_path / "videos" / "a.mp4").read_bytes() == b"video"
    assert (cluster.idle, actor.job, cluster.failed, cluster.died) == ([actor], None, 0, 0)
    assert actor.since > 0
    waiting = driver.actor(up=True, since=0.0)  # it was only asked for a sign of life
    assert cluster._answered("ready", waiting) is None
    assert (waiting.since, waiting.heard > 0) == (0.0, True)


def test_an_idle_actor_gets_a_job_unless_it_was_silent_for_long(driver):
    cluster = driver.cluster
    cluster.idle = [driver.actor(up=True), driver.actor(up=True, heard=-1e9)]
    for actor in list(cluster.idle):
        cluster._give(actor)
    assert cluster.idle == []
    assert [actor.job and actor.job.seed for actor in cluster.calls.values()] == [0, None]
    assert driver.told == [("w-1", 0, 4)]


@pytest.mark.parametrize(("gpu", "device"), [(True, "GPU-1"), (False, "cpu")])
def test_a_keeper_sits_on_the_device_that_ray_gave_it(tmp_path, monkeypatch, gpu, device):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    (tmp_path / ".seen").touch()
    options = replace(OPTIONS, ray=Ray(cpus_per_actor=0.5))
    slot = Keeper("w-1", "fakes:load", options, tmp_path, ".seen", gpu).worker.slot
    assert (slot.device, slot.folder, slot.threads) == (device, tmp_path, 1)
    assert Keeper("w-1", "fakes:load", OPTIONS, tmp_path, ".unseen", gpu).folder != tmp_path


def test_a_keeper_sends_a_jobs_files_home_and_keeps_the_baselines(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    keeper, job = Keeper("w-1", "fakes:load", OPTIONS, tmp_path, ".unseen", False), fakes.job(1)
    names = [
        f"videos/{job.key}.mp4",
        f"baselines/{job.key}.npz",
        f"baselines/waiting/{job.key}.npz",
        "videos/other.mp4",
    ]
    for name in names:
        (keeper.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (keeper.folder / name).write_text(name, encoding="utf-8")
    assert keeper._files(job) == {name: name.encode() for name in names[:3]}
    assert [(keeper.folder / name).exists() for name in names] == [False, True, False, True]
    keeper.worker._failed_starts = STARTS
    assert keeper.ready() == Answer(why="unknown")
    keeper.worker.cause = "no GPU"
    assert keeper.ready() == Answer(why="no GPU")


def test_an_actors_own_folder_goes_when_it_leaves_and_a_dead_ones_when_another_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "from svdsweep.runner.ray_actor import _own_folder; print(_own_folder())"
    there = os.environ | {"TMPDIR": str(tmp_path), "TEMP": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=there, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    dead, other = Path(done.stdout.strip()), tmp_path / f"{MARK}mine"
    other.mkdir()
    assert dead.parent == tmp_path
    assert dead.is_dir()
    first = Keeper("w-1", "fakes:load", OPTIONS, tmp_path, ".unseen", False)
    second = Keeper("w-2", "fakes:load", OPTIONS, tmp_path, ".unseen", False)
    assert sorted(tmp_path.glob(f"{MARK}*")) == sorted([other, first.folder, second.folder])
    first.leave()
    assert not first.folder.exists()
    (tmp_path / ".seen").touch()
    Keeper("w-3", "fakes:load", OPTIONS, tmp_path, ".seen", False).leave()
    assert sorted(tmp_path.glob("*")) == sorted([tmp_path / ".seen", tmp_path / "logs", other, second.folder])


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
    rows = list(run_jobs(jobs, fakes.load, OPTIONS, Store(folder), Heard()))
    status = {row.job.seed: row.status for row in rows}
    wrong = {2: "failed", 3: "crashed", 4: "crashed", 5: "oom", 7: "failed"}
    assert status == dict.fromkeys(range(12), "ok") | wrong
    assert set(ran(folder).values()) == {1}
    crashed = next(row for row in rows if row.job.seed == 3)
    assert crashed.phase == "denoise"
    assert "working on 3" in crashed.error
    assert len(list(run_jobs(jobs, fakes.load, OPTIONS, Store(folder), Heard()))) == 4


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_machine_joins_and_another_dies_in_mid_sweep(cluster, folder):
    jobs = [fakes.job(i, "sleep 1.0") for i in range(24)]
    heard, rows, second = Heard(), [], None
    for row in run_jobs(jobs, fakes.load, OPTIONS, Store(folder), heard):
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
    done = list(run_jobs(jobs, fakes.load, OPTIONS, Store(folder), Heard()))
    assert {row.status for row in done} == {"ok"}
    assert len(done) == statuses["crashed"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_actor_that_is_killed_costs_its_own_job_and_is_replaced(cluster, folder):
    jobs = [fakes.job(i, "sleep 0.5") for i in range(8)]
    killed = []
    rows = []
    for row in run_jobs(jobs, fakes.load, OPTIONS, Store(folder), Heard()):
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


class Listening:
    """Something that listens at an address of this machine, until it is closed."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"


def test_a_call_returns_or_raises_what_ray_does_while_the_head_is_there():
    head = Head(Listening().address)
    assert head.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        head.call(divmod, 7, 0)


def test_a_head_that_is_gone_ends_a_call_that_waits_for_it(monkeypatch):
    monkeypatch.setattr(ray_head, "LOOK_S", 0.05)
    monkeypatch.setattr(ray_head, "DEAD_S", 0.3)
    there = Listening()
    head, never = Head(there.address), threading.Event()
    assert head.call(never.wait, 0.5) is False, "it is there, however long a call takes"
    there.socket.close()
    with pytest.raises(Stopped, match=f"Ray's head at {there.address} has not answered"):
        head.call(never.wait, 60)
    assert head.dead


def test_a_cluster_that_wants_a_token_says_so():
    refused = ConnectionError("Failed to connect to Ray cluster at 1.2.3.4:6379")
    refused.__cause__ = RuntimeError(
        "RPC error: InvalidAuthToken: Authentication token is missing or incorrect."
    )
    assert "Set RAY_AUTH_MODE=token" in engine._why_not_joined(refused)
    assert engine._why_not_joined(ConnectionError("nobody\nthere")) == "no Ray answers there (nobody)."


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_head_that_is_killed_ends_the_sweep_with_a_sentence_and_its_tables(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    start = [*ray, "start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    subprocess.run(start, env=env, check=True, capture_output=True)
    grid = ["seed=range(60)", "num_inference_steps=1", "num_frames=2", f"runs_dir={tmp_path}", "name=x"]
    where = ["runner=ray", f"runner.ray.address=127.0.0.1:{port}", "runner.devices=cpu"]
    command = [sys.executable, "-m", "svdsweep", *grid, *where]
    driver = subprocess.Popen(
        command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        wait_for(lambda: len(stored(tmp_path / "x")) >= 2, 120)
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"] in ("gcs_server", "raylet") and str(port) in " ".join(
                process.info["cmdline"]
            ):
                process.kill()
        killed = time.monotonic()
        _, said = driver.communicate(timeout=60)
        assert time.monotonic() - killed < 60
    finally:
        driver.kill()
        subprocess.run([*ray, "stop", "--force"], env=env, capture_output=True, check=False)
    assert driver.returncode == 1
    assert "svdsweep: Ray's head at" in said
    assert "has not answered for" in said
    assert "Traceback" not in said
    assert len(pd.read_csv(tmp_path / "x" / "results.csv")) == len(stored(tmp_path / "x")) < 60


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_overhead_on_ray(cluster, folder):
    times = []
    for n in (1, 301):
        began = time.perf_counter()
        list(
            run_jobs(
                [fakes.job(i) for i in range(n)], fakes.load_noop, OPTIONS, Store(folder / str(n)), Heard()
            )
        )
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
    rows = list(run_jobs(jobs, fakes.load, OPTIONS, Store(folder), Heard()))
    assert {row.status for row in rows} == {"ok"}
    for job in jobs:
        assert (folder / "videos" / f"{job.key}.mp4").read_bytes() == job.key.encode() * 1000
    assert not (folder / "ran").exists()
    assert not list(Path(tempfile.gettempdir()).glob(f"{MARK}*")), (
        "nothing is left on a machine of the cluster"
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_ray_of_ones_own_starts_and_ends_with_the_sweep_and_refuses_a_bad_load(folder, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, sys.path)]))
    assert len(list(run_jobs([fakes.job()], fakes.load, OPTIONS, Store(folder), Heard()))) == 1
    with pytest.raises(UserError, match=r"No worker comes up.*weights are gone"):
        list(run_jobs([fakes.job(1)], fakes.load_never, OPTIONS, Store(folder), Heard()))
    wait_for(lambda: not family(folder))
