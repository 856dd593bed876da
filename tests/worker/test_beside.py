"""What a GPU's job leaves to be judged beside the next one, shown on a CPU that takes itself for a GPU."""

import gc
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pipelines import copied

from svdsweep.config import Image, Job, Measure, Memory, Metrics
from svdsweep.metrics import FAMILIES, need_the_device
from svdsweep.store.measurements import Measurements
from svdsweep.store.rows import Row
from svdsweep.worker import worker as worker_module
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import Worker, load

JOB = Job(
    image=Image(name="rocket", path="rocket.jpg"),
    num_frames=4,
    height=32,
    width=48,
    num_inference_steps=2,
    metrics=Metrics(families=["temporal"]),
)
JOB = replace(JOB, baseline=JOB.key)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(worker_module, "load_pipeline", copied)
    worker = load(Slot("cpu", tmp_path, 1, judge_beside=True))
    assert isinstance(worker, Worker)
    assert not worker.spare_cores, "on the CPU a judge would disturb the next job"
    worker.spare_cores = True
    return worker


def quietly(phase: str, vram_peak_gib: float | None) -> None:
    """What a worker reports is not of interest."""


def test_a_judge_beside_the_next_job_answers_as_one_between_two_jobs(work: Worker, tmp_path: Path) -> None:
    judge = work(JOB, 3, quietly)
    assert callable(judge)
    following = work(replace(JOB, seed=1, baseline=""), 1, quietly)
    assert callable(following)
    beside = judge()
    assert (beside.status, beside.attempt, beside.phase) == ("ok", 3, "")
    assert (tmp_path / str(beside.values["video"])).exists()
    work.spare_cores = False
    plain = work(JOB, 3, quietly)
    assert isinstance(plain, Row)
    for name in ("frames_sha256", "adj_psnr_db", "adj_ssim", "equality", "nonfinite_values", "contact_sheet"):
        assert beside.values[name] == plain.values[name]
    assert set(plain.series) == set(beside.series)
    assert following().values["judge_s"] > 0  # type: ignore[operator]


def test_a_fault_of_a_judge_costs_no_pipeline(work: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = work(JOB, 1, quietly)
    assert callable(judge)
    loaded = work.loaded
    monkeypatch.setattr(worker_module, "judge", lambda *_: 1 / 0)
    row = judge()
    assert (row.status, row.error.split(" [")[0]) == ("failed", "ZeroDivisionError: division by zero")
    assert row.values["total_s"]
    assert work.loaded is loaded


def test_a_black_video_is_defective_also_beside(work: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def black(*arguments: object) -> object:
        pipe = copied(*arguments)
        with torch.no_grad():
            pipe.vae.decoder.conv_out.weight.zero_()
            pipe.vae.decoder.conv_out.bias.fill_(-9)
        return pipe

    monkeypatch.setattr(worker_module, "load_pipeline", black)
    judge = work(replace(JOB, baseline=""), 1, quietly)
    assert callable(judge)
    assert judge().status == "defective"


def test_no_pipeline_is_kept_for_a_judge(work: Worker) -> None:
    judge = work(replace(JOB, baseline=""), 1, quietly)
    assert work.loaded is not None
    unet = work.loaded.pipe.unet
    work._unload()
    gc.collect()
    assert callable(judge)
    holders = [each for each in gc.get_referrers(unet) if isinstance(each, dict) and each.get("unet") is unet]
    assert not holders, "the memory of the device belongs to the next job"


QUICK, STANDARD = Measure(), Measure(warmup=1, repeats=2)
STEADY = Measure(until_steady=True, warmup_limit=2, rounds=2)
INTERVAL = Measure(warmup=1, within=0.5, repeats=2, repeats_limit=2)


@pytest.mark.parametrize(
    ("following", "meanwhile", "waits"),
    [
        (QUICK, {"load", "denoise"}, False),
        (STANDARD, {"load", "warmup"}, True),
        pytest.param(INTERVAL, {"load", "warmup"}, True, marks=pytest.mark.slow),
        (STEADY, {"load"}, True),
    ],
    ids=["quick", "standard", "interval", "until steady"],
)
def test_beside_a_judge_the_next_job_loads_and_warms_up_and_times_nothing_to_the_percent(
    work: Worker, monkeypatch: pytest.MonkeyPatch, following: Measure, meanwhile: set[str], waits: bool
) -> None:
    judge = work(replace(JOB, baseline="", measure=STANDARD), 1, quietly)
    assert callable(judge)
    go_on, phases, here = threading.Event(), list[tuple[str, bool]](), []
    monkeypatch.setattr(worker_module, "judge", lambda *_: go_on.wait(30) and Measurements())
    thread = threading.Thread(target=lambda: here.append(judge()))
    thread.start()

    def told(phase: str, _vram_peak_gib: float | None) -> None:
        phases.append((phase, thread.is_alive()))

    if waits:
        monkeypatch.setattr(work.judged, "wait", lambda: (go_on.set(), thread.join()))
    else:
        monkeypatch.setattr(work.judged, "wait", lambda: pytest.fail("a job timed once waits for nothing"))
    other = replace(JOB, baseline="", memory=Memory(forward_chunk_size=2), measure=following)
    assert callable(work(other, 1, told))
    go_on.set()
    thread.join()
    assert {
        phase for phase, beside in phases if beside and phase in ("load", "warmup", "denoise")
    } == meanwhile
    assert here[0].status == "ok"


def test_waiting_for_a_judge_is_time_of_an_idle_device(work: Worker) -> None:
    judge = work(replace(JOB, baseline="", measure=STANDARD), 1, quietly)
    assert callable(judge)
    threading.Timer(0.5, judge).start()
    row = work(replace(JOB, baseline="", seed=1, measure=STANDARD), 1, quietly)
    assert callable(row)
    assert row().values["idle_s"] > 0.4  # type: ignore[operator]


def test_what_needs_the_device_is_judged_before_the_next_job(work: Worker) -> None:
    job = replace(JOB, metrics=Metrics(families=["temporal", "clip"]))
    assert isinstance(work(job, 1, quietly), Row)


def test_families_that_run_networks_need_the_device() -> None:
    assert {name for name in FAMILIES if need_the_device([name])} == {"clip", "cvvdp", "lpips", "stlpips"}
    assert need_the_device(["temporal", "mine.metric"])
    assert not need_the_device([])
