"""Every preset of conf/memory: run on the CPU where one can, against its baseline; the others named with the reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import gpus
import pipelines
import pytest

from svdsweep import cli
from svdsweep.config import Job
from svdsweep.grid.expand import expand
from svdsweep.memory.conflicts import why_not
from svdsweep.store.rows import Row
from svdsweep.worker import worker
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import load

CONF = Path(__file__).parents[2] / "conf" / "memory"
SAME, CLOSE, OTHER = ("exact",), ("exact", "equivalent"), ("exact", "equivalent", "near", "different")
RUN_HERE = {
    "model_offload": SAME,
    "group_offload_blocks": SAME,
    "forward_chunking": CLOSE,
    "split_guidance": CLOSE,
    "single_token": CLOSE,
    "streamed_decode": CLOSE,
    "compile": CLOSE,
    "compile_regional": CLOSE,
    "fastest": CLOSE,
    "chunked_decode": OTHER,
    "under_8gb": OTHER,
    "fp8": OTHER,
    "int8": OTHER,
    "no_guidance": OTHER,
    "ten_steps": OTHER,
    "deepcache": OTHER,
}
NEED_CUDA = {
    "sequential_offload": "accelerate cannot stream layers onto a CPU",
    "smallest": "there are no CUDA streams on a CPU",
    "group_offload": "there are no CUDA streams on a CPU",
    "fastest": "cuDNN computes on NVIDIA's only",
    "auto_decode": "it follows the free VRAM",
    "fastest_aggressive": "cuDNN computes on NVIDIA's only",
    "cuda_graphs": "it records CUDA graphs",
}
PACKAGE = {"int8": "torchao", "deepcache": "DeepCache"}
QUICK = ("split_guidance", "chunked_decode", "ten_steps", "group_offload_blocks")
"""Those that an ordinary run of the tests tries; the slow ones try all."""
COMPILED = ("compile", "compile_regional", "fastest")
HERE = {
    "fastest": ["memory.cudnn_benchmark=false"],
    "smallest": ["memory.offload_stream=false", "memory.offload_record_stream=false"],
}
"""What of a preset that needs a GPU can be run without one."""
ON_THE_LINE = ("num_frames=4", "num_inference_steps=2", "height=32", "width=64", "metrics=none")


def job_of(preset: str, *more: str) -> Job:
    other = "model_offload" if preset == "baseline" else "baseline"  # a baseline by itself keeps no frames
    job, _ = expand([f"memory={preset},{other}", *ON_THE_LINE, *more]).jobs
    return job


def test_every_preset_is_run_here_or_named_with_the_reason_why_not() -> None:
    presets = {path.stem for path in CONF.glob("*.yaml")}
    assert presets == {"baseline", "step_cache", *RUN_HERE, *NEED_CUDA}


@pytest.mark.parametrize("preset", NEED_CUDA)
def test_what_needs_cuda_is_refused_here_with_the_reason_and_not_there(preset: str) -> None:
    assert NEED_CUDA[preset] in (why_not(job_of(preset), "cpu") or "")
    assert why_not(job_of(preset, "model.dtype=float16"), "cuda") is None


REAL = ("model=svd_xt", "model.weights=random")
NOT_ON = {
    "cuda": set(),
    "rocm": set(),
    "xpu": {"fastest", "fastest_aggressive", "cuda_graphs"},
    "mps": {"fastest", "fastest_aggressive", "cuda_graphs", "fp8", "group_offload", "smallest"},
}
"""The presets that other GPUs than NVIDIA's are refused."""


def test_every_preset_is_possible_or_not_on_every_kind_of_gpu() -> None:
    jobs = {job.memory.name: job for job in expand(["memory=glob(*)", *REAL]).jobs}
    assert jobs.keys() == {path.stem for path in CONF.glob("*.yaml")}
    for kind, impossible in NOT_ON.items():
        assert {name for name, job in jobs.items() if why_not(job, kind)} == impossible, kind


@pytest.mark.parametrize("kind", NOT_ON)
def test_presets_are_planned_or_refused_with_a_reason_on_every_kind_of_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    gpus.machine(monkeypatch, tmp_path, kind)
    line = ["memory=fp8,group_offload,fastest,smallest", *REAL, f"runs_dir={tmp_path}"]
    assert cli.main(["plan", "--json", *line]) == 0
    told = capsys.readouterr()
    jobs = json.loads(told.out)["jobs"]
    assert {job["memory"] for job in jobs} == {"fp8", "group_offload", "fastest", "smallest"}
    refused = {job["memory"] for job in jobs if job["state"] == "impossible"}
    assert refused == NOT_ON[kind] & {"fp8", "group_offload", "fastest", "smallest"}
    assert all(job["why"] for job in jobs if job["memory"] in refused)
    assert "the CPU computes" not in told.err


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_preset_begins_with_its_command_and_a_sentence(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line != "# @package _global_"]
    assert lines[0].startswith(f"# python -m svdsweep memory={path.stem}")
    assert lines[1].startswith("# ")
    assert f"name: {path.stem}" in path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True, scope="module")
def copied_pipelines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(worker, "load_pipeline", pipelines.copied)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets")
    row = load(Slot("cpu", folder, 1))(job_of("baseline"), 1, lambda *_: None)
    assert (row.status, row.values["equality"]) == ("ok", "baseline"), row.error
    return folder


def run(folder: Path, job: Job) -> Row:
    return load(Slot("cpu", folder, 1))(job, 1, lambda *_: None)


@pytest.mark.parametrize(
    "preset", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in RUN_HERE]
)
def test_a_preset_runs_takes_effect_and_keeps_what_it_promises(folder: Path, preset: str) -> None:
    if preset in PACKAGE:
        pytest.importorskip(PACKAGE[preset])
    backend = (
        ["memory.compile_backend=eager"] if preset in COMPILED else []
    )  # capture only: seconds, not minutes
    row = run(folder, job_of(preset, *backend, *HERE.get(preset, ())))
    assert row.status == "ok", row.error
    assert row.values["equality"] in RUN_HERE[preset]
    assert "fault" not in row.values
    assert row.values["denoise_steps"] == (10 if preset == "ten_steps" else 2)
    assert row.values["guided"] is (preset != "no_guidance")


def test_a_step_cache_spares_half_of_the_calls_which_are_counted(tmp_path: Path) -> None:
    steps = "num_inference_steps=4"  # of the two of the others there is none to spare
    baseline, cached = (run(tmp_path, job_of(preset, steps)) for preset in ("baseline", "step_cache"))
    assert [row.error for row in (baseline, cached)] == ["", ""]
    assert (baseline.values["unet_calls"], cached.values["unet_calls"]) == (4, 2)
    assert cached.values["denoise_steps"] == len(cached.series["step_s"][0]) == 4
    assert cached.values["equality"] in OTHER[1:]


def test_the_smallest_without_streams_keeps_the_frames_where_a_chunked_decode_does_not(folder: Path) -> None:
    smallest = run(folder, job_of("smallest", *HERE["smallest"]))
    assert (smallest.status, smallest.error) == ("ok", "")
    assert smallest.values["equality"] in CLOSE
    assert smallest.values["psnr_to_baseline_db"] > 80  # type: ignore[operator]
    chunked = run(folder, job_of("under_8gb"))
    assert chunked.values["equality"] not in CLOSE


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "preset", [pytest.param(p, marks=pytest.mark.by_hand) if p != "compile_regional" else p for p in COMPILED]
)
def test_inductor_keeps_the_frames_too(folder: Path, preset: str) -> None:
    row = run(folder, job_of(preset, *HERE.get(preset, ())))
    assert row.status == "ok", row.error
    assert row.values["equality"] in CLOSE
    assert row.values["compile_s"] > 1  # type: ignore[operator]
