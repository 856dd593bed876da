"""What `plan` shows of a grid: each job's state, pipeline and VRAM in its own line."""

from dataclasses import replace
from types import SimpleNamespace

import fakes
import pytest

from svdsweep.commands import plan
from svdsweep.config import Runner
from svdsweep.grid.expand import Grid
from svdsweep.predict.forecast import Card
from svdsweep.predict.prediction import Prediction
from svdsweep.store.rows import Row, Store


def predicted(*peaks_gib: float) -> Prediction:
    """A prediction whose stages have these peaks."""
    return Prediction({str(i): SimpleNamespace(peak_gib=gib) for i, gib in enumerate(peaks_gib)})


@pytest.fixture
def planned(tmp_path):
    """Four jobs: one done, one to do that fits, one impossible, one of unknown VRAM."""
    jobs = [fakes.job(seed, forward_chunk_size=size) for size in (None, 2) for seed in (0, 1)]
    keys = [job.key for job in jobs]
    return plan.Plan(
        grid=Grid(jobs, {"seed": ["0", "1"]}, Runner(), tmp_path, "mine"),
        rows={keys[0]: Row(jobs[0], "oom"), keys[1]: Row(jobs[1], "failed"), keys[2]: Row(jobs[2], "failed")},
        state=dict(zip(keys, ["oom", "to do", "impossible", "to do"], strict=True)),
        refused={keys[2]: "it needs a GPU"},
        predicted={keys[0]: predicted(3.0, 9.5, 2.0), keys[1]: predicted(4.25)},
        fits={keys[0]: "no", keys[1]: "tight", keys[2]: "", keys[3]: ""},
        card=Card("NVIDIA X", 24.0),
    )


def test_each_job_has_its_line_and_what_is_not_known_is_a_dash(planned):
    keys = [job.key for job in planned.grid.jobs]
    header, *lines = (line.split() for line in plan.table_of_jobs(planned).splitlines())
    assert (header[0], header[-4:]) == ("job", ["pipeline", "predicted_gib", "fits", "state"])
    assert [line[0] for line in lines] == keys
    assert lines[0][-4:] == ["1", "9.5", "no", "oom"]
    assert lines[1][-5:] == ["1", "4.25", "tight", "to", "do"]
    assert lines[2][-4:] == ["2", "-", "-", "impossible"]
    assert lines[3][-5:] == ["2", "-", "-", "to", "do"]


def test_the_plan_counts_what_is_done_to_do_and_impossible(planned):
    lines = plan.text(planned).splitlines()
    assert lines[6:9] == [
        "pipeline 1: tiny, float32, memory=baseline (2 jobs)",
        "pipeline 2: tiny, float32, memory=baseline (2 jobs)",
        "impossible here: it needs a GPU",
    ]
    assert lines[10] == f"{planned.grid.folder}: 4 jobs, 1 oom, 2 to do, 1 impossible. Nothing was run."
    assert lines[11].startswith("fits: NVIDIA X (24.0 GiB), with ")
    assert lines[12].startswith("The VRAM of 1 jobs is not predicted yet")
    limited = plan.text(replace(planned, card=Card())).splitlines()
    assert limited[11].startswith("fits: gpu.memory_limit_gib, with ")


def test_a_pipeline_is_named_as_its_first_job_and_a_single_job_by_its_motion_and_seed(planned):
    jobs = [replace(job, memory=replace(job.memory, name=f"m{i}")) for i, job in enumerate(planned.grid.jobs)]
    assert [line.partition("memory=")[2] for line in plan.pipelines(jobs)] == ["m0 (2 jobs)", "m2 (2 jobs)"]
    alone = replace(planned, grid=replace(planned.grid, jobs=jobs[:1]))
    header = plan.table_of_jobs(alone).split()
    assert header[:4] == ["job", "motion_bucket_id", "seed", "pipeline"]


def test_the_document_has_the_same_numbers(planned):
    told = plan.document(planned)
    assert (told["name"], told["folder"], told["axes"]) == (
        "mine",
        str(planned.grid.folder),
        {"seed": ["0", "1"]},
    )
    assert (told["gpu"], told["gpu_gib"]) == ("NVIDIA X", 24.0)
    names = ("key", "state", "why", "predicted_vram_gib", "fits", "seed", "pipeline")
    jobs = planned.grid.jobs
    one, two = jobs[0].pipeline_key, jobs[2].pipeline_key
    assert [tuple(job[name] for name in names) for job in told["jobs"]] == [
        (jobs[0].key, "oom", None, 9.5, "no", 0, one),
        (jobs[1].key, "to do", None, 4.25, "tight", 1, one),
        (jobs[2].key, "impossible", "it needs a GPU", None, None, 0, two),
        (jobs[3].key, "to do", None, None, None, 1, two),
    ]


def test_what_will_run_is_to_do_and_the_last_row_tells_how_the_others_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "predictions", lambda jobs, compute: {job.key: None for job in jobs})
    asked = []
    monkeypatch.setattr(plan, "card_here", lambda *where: asked.append(where) or Card())
    jobs = [fakes.job(seed) for seed in range(4)]
    jobs += [fakes.job(seed, offload="sequential") for seed in (9, 8)]
    grid = Grid(jobs, {}, Runner(devices="cpu", attempts=2), tmp_path, "mine")
    store = Store(grid.folder, "earlier")
    done = (Row(jobs[0], "ok"), Row(jobs[1], "failed"), Row(jobs[2], "failed", attempt=2), Row(jobs[5], "ok"))
    for row in done:  # the last on another machine, which had a GPU
        store.append(row)
    made = plan.made(grid, simulate=False)
    assert [made.state[job.key] for job in jobs] == [*("ok", "to do", "failed", "to do", "impossible", "ok")]
    assert list(made.refused) == [jobs[4].key]
    assert (made.predicted, made.fits, asked) == ({}, {}, [(["cpu"], grid.folder)])


def test_calls_of_the_unet_are_told_where_they_are_others_than_the_steps(planned):
    assert "unet_calls" not in plan.table_of_jobs(planned)
    jobs = [
        replace(j, model=replace(j.model, scheduler="heun"), num_inference_steps=4) for j in planned.grid.jobs
    ]
    heun = replace(
        planned, grid=replace(planned.grid, jobs=jobs), state=dict.fromkeys([j.key for j in jobs], "to do")
    )
    header, *lines = (line.split() for line in plan.table_of_jobs(heun).splitlines())
    assert {line[header.index("unet_calls")] for line in lines} == {"7"}
    assert [job["unet_calls"] for job in plan.document(heun)["jobs"]] == [7] * 4
