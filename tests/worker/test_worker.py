"""A worker answers a row for every job, whatever becomes of it, and loads once for each distinct settings."""

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_ffmpeg import KILLED_AT_ONCE, needs_sh, put_in_place
from imageio_ffmpeg import read_frames

from svdsweep.config import Gpu, Image, Job, Measure, Memory, Metrics, Model
from svdsweep.errors import UserError
from svdsweep.memory.contract import NoEffect
from svdsweep.probes.vram import Peak
from svdsweep.store.measurements import Measurements
from svdsweep.store.rows import Row, Store
from svdsweep.worker import baseline as baseline_module
from svdsweep.worker import run as run_module
from svdsweep.worker import worker as worker_module
from svdsweep.worker.baseline import baseline_path, compare_missing
from svdsweep.worker.contract import Slot
from svdsweep.worker.measuring import Setup
from svdsweep.worker.run import Progress
from svdsweep.worker.worker import Worker, load

PLAIN = Job(
    image=Image(name="rocket", path="rocket.jpg"),
    num_frames=4,
    height=32,
    width=48,
    num_inference_steps=2,
    max_guidance_scale=1.5,
    measure=Measure(noise_floor=False),
    metrics=Metrics(families=[]),
)
JOB = replace(PLAIN, baseline=PLAIN.key)
Run = Callable[..., Row]


def under(**knobs: Any) -> Job:
    return replace(JOB, memory=Memory(**knobs))


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot("cpu", tmp_path, 1)


@pytest.fixture
def reports() -> list[tuple[str, float | None]]:
    return []


@pytest.fixture
def run(slot: Slot, reports: list[tuple[str, float | None]]) -> Run:
    work = load(slot)

    def answer(job: Job, attempt: int = 1) -> Row:
        row = work(job, attempt, lambda phase, peak: reports.append((phase, peak)))
        Store(slot.folder).append(row)  # nothing in a row may be unfit for JSON
        return row

    return answer


def test_a_row_tells_times_pictures_and_where_it_was_made(
    run: Run, slot: Slot, reports: list[tuple[str, float | None]]
) -> None:
    row = run(replace(JOB, metrics=Metrics(families=["temporal"])), attempt=2)
    assert (row.status, row.attempt, row.phase, row.error) == ("ok", 2, "", "")
    stages = ("image_encode_s", "vae_encode_s", "denoise_s", "vae_decode_s")
    assert sum(row.values[s] for s in stages) == pytest.approx(row.values["total_s"], rel=0.02)  # type: ignore[misc]
    assert row.values["frames_per_s"] == pytest.approx(4 / row.values["total_s"])  # type: ignore[operator]
    assert (len(row.series["step_s"][0]), row.values["unet_calls"]) == (2, 2)
    assert row.values["load_s"] > 0  # type: ignore[operator]
    assert (row.values["loads"], row.values["fps_id"], row.values["decode_frames"]) == (1, 6, 4)
    assert row.values["host_ram_peak_gib"] > 0.1  # type: ignore[operator]
    assert row.values["adj_ssim"] is not None
    video = read_frames(str(slot.folder / str(row.values["video"])))
    assert next(video)["size"] == (48, 32)
    video.close()
    assert (slot.folder / str(row.values["contact_sheet"])).stat().st_size > 100
    assert row.provenance["torch"] == version("torch")
    assert row.provenance["device"] == "cpu"
    assert [phase for phase, _ in reports][:5] == [
        "load",
        "image_encode",
        "vae_encode",
        "denoise",
        "vae_decode",
    ]
    assert reports[-1][0] == "write"


def test_what_a_cpu_cannot_know_is_none_and_never_zero(run: Run) -> None:
    values = run(JOB).values
    for name in ("vram_allocated_peak_gib", "denoise_vram_allocated_peak_gib", "energy_j", "sm_clock_mhz"):
        assert values[name] is None


def test_one_load_for_each_distinct_settings(run: Run) -> None:
    jobs = [JOB, replace(JOB, seed=1, motion_bucket_id=9, fps=9)]
    jobs += [under(forward_chunk_size=2), under(forward_chunk_size=2, denoise_steps=1)]
    rows = [run(job) for job in sorted(jobs, key=lambda j: j.pipeline_key)]
    assert [r.status for r in rows] == ["ok"] * len(jobs)
    assert sum(r.values["loads"] for r in rows) == len({j.pipeline_key for j in jobs}) == 2  # type: ignore[misc]
    assert sum("load_s" in r.values for r in rows) == 2


def test_the_same_job_twice_gives_the_same_frames(run: Run) -> None:
    job = replace(PLAIN, measure=Measure())
    job = job.with_baseline(job.key)
    a, b = run(job), run(job)
    assert a.values["frames_sha256"] == b.values["frames_sha256"]
    assert a.values["noise_floor_psnr_db"] == 100
    assert run(replace(JOB, seed=1)).values["frames_sha256"] != a.values["frames_sha256"]


def test_jobs_that_differ_in_their_decode_share_one_denoise(run: Run) -> None:
    whole = run(JOB)
    shared = run(replace(JOB, decode_chunk_size=2))
    assert shared.values["latency_shared_with"] == whole.key
    assert shared.values["denoise_s"] == whole.values["denoise_s"]
    assert shared.values["vae_decode_s"] != whole.values["vae_decode_s"]
    alone = run(replace(JOB, decode_chunk_size=2, measure=Measure(share_latents=False)))
    assert "latency_shared_with" not in alone.values
    assert shared.values["frames_sha256"] == alone.values["frames_sha256"] != whole.values["frames_sha256"]
    assert shared.values["latents_bit_equal_to_baseline"] is True


@pytest.mark.parametrize("knobs", [{"offload": "model"}, {"offload": "group_leaf"}], ids=str)
@pytest.mark.slow
def test_sharing_equals_a_whole_run_under_offload_too(run: Run, knobs: Any) -> None:
    run(under(**knobs))
    shared = run(replace(under(**knobs), decode_chunk_size=1))
    assert "latency_shared_with" in shared.values
    apart = replace(under(**knobs), decode_chunk_size=1, measure=Measure(share_latents=False))
    assert shared.values["frames_sha256"] == run(apart).values["frames_sha256"]


def test_nothing_is_shared_with_another_seed_or_strategy(run: Run) -> None:
    run(JOB)
    for job in (replace(JOB, seed=1), replace(JOB, noise_aug_strength=0.1), under(split_guidance=True)):
        assert "latency_shared_with" not in run(replace(job, decode_chunk_size=2)).values


def test_offloads_are_bit_equal_to_their_baseline(run: Run) -> None:
    run(JOB)
    for offload in ("model", "group_block", "group_leaf"):
        row = run(under(offload=offload))
        assert row.values["equality"] == "exact"
        assert "fault" not in row.values


def test_the_frames_of_a_baseline_are_read_once_a_job(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run(JOB)
    paths: list[Path] = []
    honest = baseline_module.read_kept
    monkeypatch.setattr(baseline_module, "read_kept", lambda path: paths.append(path) or honest(path))
    row = run(replace(under(offload="model"), metrics=Metrics(families=["baseline", "defects"])))
    assert len(paths) == 1
    assert (row.values["ssim_to_baseline"], row.values["flat_frames"]) == (1.0, 0)


def test_a_job_ahead_of_its_baseline_is_compared_when_that_is_there(run: Run, slot: Slot) -> None:
    early = run(under(offload="model"))
    assert "equality" not in early.values
    run(JOB)
    [late] = compare_missing(slot.folder, Store(slot.folder).rows())
    assert late.key == early.key
    assert late.values["equality"] == "exact"


def test_an_offload_that_changes_the_frames_is_shown_as_a_fault(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(JOB)
    honest = worker_module.prepare

    def spoils(pipe: Any, memory: Memory, device: torch.device) -> None:
        honest(pipe, memory, device)
        with torch.no_grad():
            pipe.unet.conv_out.bias += 0.05

    monkeypatch.setattr(worker_module, "prepare", spoils)
    row = run(under(offload="model"))
    assert row.values["bit_equal_to_baseline"] is False
    assert "only moves weights" in str(row.values["fault"])


def test_an_impossible_combination_is_rejected_and_the_pipeline_stays(run: Run) -> None:
    run(JOB)
    row = run(under(forward_chunk_size=3))
    assert row.status == "rejected"
    assert "does not divide" in row.error
    assert run(replace(JOB, seed=1)).values["loads"] == 0


def test_a_strategy_without_effect_is_rejected(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(*_: Any) -> None:
        raise NoEffect("memory.offload took no effect: no hook.")

    monkeypatch.setattr(worker_module, "prepare", idle)
    row = run(JOB)
    assert (row.status, row.phase) == ("rejected", "load")
    assert "no hook" in row.error


def out_of_memory(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 40 GiB.\nMore advice.")


@pytest.mark.parametrize("name", ["load_pipeline", pytest.param("prepare", marks=pytest.mark.slow)])
def test_out_of_memory_while_loading_is_a_finding(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, name, out_of_memory)
    row = run(JOB)
    assert (row.status, row.phase, row.final) == ("oom", "load", True)
    assert row.error == "CUDA out of memory. Tried to allocate 40 GiB."
    monkeypatch.undo()
    assert run(JOB).status == "ok"


@pytest.mark.parametrize(
    ("network", "phase"),
    [("image_encoder", "image_encode"), ("unet", "denoise"), ("vae.decoder", "vae_decode")],
)
def test_out_of_memory_in_a_stage_names_it(
    run: Run, network: str, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = worker_module.prepare

    def full(pipe: Any, memory: Memory, device: torch.device) -> None:
        honest(pipe, memory, device)
        part = pipe
        for name in network.split("."):
            part = getattr(part, name)
        part.register_forward_hook(out_of_memory)

    monkeypatch.setattr(worker_module, "prepare", full)
    row = run(JOB)
    assert (row.status, row.phase) == ("oom", phase)


@pytest.mark.parametrize("offload", ["none", "model"])
def test_weights_are_drawn_on_the_device_that_computes_wherever_they_wait(
    slot: Slot, monkeypatch: pytest.MonkeyPatch, offload: str
) -> None:
    asked: list[tuple[str, str]] = []

    def record(_model: Model, device: torch.device, drawn_on: torch.device) -> Any:
        asked.append((device.type, drawn_on.type))
        raise RuntimeError("enough")

    monkeypatch.setattr(worker_module, "load_pipeline", record)
    Worker(slot, torch.device("meta"))(under(offload=offload), 1, lambda *_: None)
    assert asked == [("meta" if offload == "none" else "cpu", "meta")]


@pytest.mark.parametrize("peaks_gib", [(7.0, 5.0), (5.0, 7.0), (None, 7.0), (7.0, None)])
def test_the_row_of_a_job_out_of_memory_tells_the_largest_peak_that_was_seen(
    slot: Slot, monkeypatch: pytest.MonkeyPatch, peaks_gib: tuple[float | None, float | None]
) -> None:
    told, last = peaks_gib

    def full(_self: Worker, _job: Job, progress: Progress, _: Measurements) -> None:
        progress("vae_encode", told)
        progress("denoise", told and told - 1)
        out_of_memory()

    monkeypatch.setattr(Worker, "_run", full)
    monkeypatch.setattr(worker_module.vram, "read_peak", lambda _: last and Peak(last, None))
    monkeypatch.setattr(worker_module.vram, "empty_cache", lambda _: None)
    row = Worker(slot, torch.device("cpu"))(JOB, 1, lambda *_: None)
    assert (row.status, row.phase, row.values["vram_allocated_peak_gib"]) == ("oom", "denoise", 7.0)


def test_a_device_that_is_lost_keeps_the_first_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> Any:
        monkeypatch.setattr(Worker, "_unload", lost_too)
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    def lost_too(*_: Any) -> None:
        raise RuntimeError("CUDA error: again, from the cache")

    monkeypatch.setattr(run_module, "measure", lost)
    row = run(JOB)
    assert row.status == "failed"
    assert "illegal memory access" in row.error
    assert row.notes == ["the device could not be cleared after that: CUDA error: again, from the cache"]


def test_a_package_that_judging_lacks_says_nothing_about_the_strategy(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise ImportError("No module named 'imageio_ffmpeg'")

    monkeypatch.setattr("svdsweep.worker.outputs.write_video", missing)
    row = run(JOB)
    assert (row.status, row.phase) == ("failed", "write")
    assert row.values["total_s"] > 0  # type: ignore[operator]
    monkeypatch.undo()
    monkeypatch.setattr(worker_module, "prepare", missing)
    assert run(under(forward_chunk_size=2)).status == "rejected"


def test_videos_that_could_not_be_written_are_known_before_the_first_job(
    slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"ffmpeg does not start .*nowhere.* unset IMAGEIO_FFMPEG_EXE, or"):
        load(slot)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: no_program())
    with pytest.raises(UserError, match="No ffmpeg exe could be found"):
        load(slot)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"Videos cannot be written: .* pip install --force-reinstall"):
        load(slot)


@needs_sh
def test_a_job_whose_encoder_is_killed_keeps_its_measurements_and_names_the_cause(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch, tmp_path, KILLED_AT_ONCE)
    row = run(JOB)
    assert (row.status, row.phase) == ("failed", "write")
    assert row.error.startswith("FfmpegFailed: ffmpeg ended: killed by SIGKILL [")
    assert row.values["total_s"] > 0  # type: ignore[operator]
    assert "video" not in row.values
    assert list((tmp_path / "videos").iterdir()) == []


def no_program() -> str:
    raise RuntimeError("No ffmpeg exe could be found")


def test_what_the_framework_takes_between_two_runs_is_told(run: Run) -> None:
    first, second, other = run(JOB), run(replace(JOB, seed=1)), run(under(forward_chunk_size=2))
    for row in (first, second, other):
        assert 0 < row.values["judge_s"] < 60  # type: ignore[operator]
    assert "idle_s" not in first.values, "nothing ran before it"
    for before, row in ((first, second), (second, other)):
        assert row.values["idle_s"] >= before.values["judge_s"]  # type: ignore[operator]
    assert other.values["loads"] == 1
    assert other.values["idle_s"] < other.values["load_s"] + second.values["judge_s"] + 60  # type: ignore[operator]


def test_after_a_failure_nobody_knows_how_long_the_device_has_waited(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(JOB)
    monkeypatch.setattr(run_module, "measure", lambda *_: 1 / 0)
    run(replace(JOB, seed=1))
    monkeypatch.undo()
    assert "idle_s" not in run(replace(JOB, seed=2)).values


def test_a_failure_tells_what_and_where_and_the_next_job_loads_afresh(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(JOB)
    monkeypatch.setattr(run_module, "measure", lambda *_: 1 / 0)
    row = run(replace(JOB, seed=1))
    assert row.status == "failed"
    assert "ZeroDivisionError: division by zero [test_worker.py" in row.error
    monkeypatch.undo()
    assert run(replace(JOB, seed=2)).values["loads"] == 1


def test_a_hook_left_behind_is_a_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = run_module.measure

    def forgets(setup: Setup, *rest: Any) -> Any:
        setup.pipe.unet.register_forward_hook(lambda *_: None)
        return honest(setup, *rest)

    monkeypatch.setattr(run_module, "measure", forgets)
    row = run(JOB)
    assert row.status == "failed"
    assert "left hooks behind" in row.error


def test_repeats_are_kept_with_their_interval(run: Run) -> None:
    row = run(replace(JOB, measure=Measure(warmup=1, repeats=3)))
    assert len(row.series["total_s"]) == 3
    assert len(row.series["warmup_s"]) == 1
    assert [len(steps) for steps in row.series["step_s"]] == [2, 2, 2]
    assert row.values["total_s_low"] <= row.values["total_s_geometric_mean"] <= row.values["total_s_high"]  # type: ignore[operator]


@pytest.mark.slow
def test_a_compiled_pipeline_tells_compiling_from_running(run: Run) -> None:
    run(JOB)
    row = run(under(compile="regional", compile_backend="eager"))
    assert row.status == "ok", row.error
    assert row.values["compile_s"] > 0  # type: ignore[operator]
    assert len(row.series["total_s"]) == 1
    assert row.values["equality"] in ("exact", "equivalent")


def test_a_worker_beyond_the_machines_devices_is_refused(slot: Slot) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match="no such GPU"):
        load(replace(slot, device="0"))


def test_the_emulated_card_needs_a_gpu(run: Run) -> None:
    assert run(replace(JOB, gpu=Gpu(memory_limit_gib=8))).status == "rejected"


def test_random_weights_run_too(run: Run) -> None:
    row = run(replace(JOB, model=Model(weights="random"), baseline=""))
    assert row.status == "ok", row.error


def test_baselines_are_kept_without_loss_only_for_those_who_ask(run: Run, slot: Slot) -> None:
    run(replace(JOB, baseline=""))
    assert not baseline_path(slot.folder, JOB.key).exists()
    run(JOB)
    assert baseline_path(slot.folder, JOB.key).exists()


def test_leftovers_of_an_earlier_job_are_told(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([1.0, 1.0, 1.5])
    monkeypatch.setattr(worker_module.vram, "allocated_gib", lambda _: next(held, 1.0))
    work = Worker(slot, torch.device("cpu"))
    assert not work(JOB, 1, lambda *_: None).notes
    assert "0.50 GiB of an earlier job" in work(JOB, 1, lambda *_: None).notes[0]
