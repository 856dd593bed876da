"""What only a GPU can show, with the tiny model: offloads bit-equal, streams, the emulated card, the device's clock, a
loop that waits for nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from svdsweep.config import Gpu, Image, Job, Memory, Metrics, Model
from svdsweep.grid.expand import expand
from svdsweep.memory.apply import prepare
from svdsweep.metrics import Context, score
from svdsweep.models.load import load_pipeline
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import load

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

PLAIN = Job(
    image=Image(path="rocket.jpg"),
    num_frames=4,
    num_inference_steps=3,
    max_guidance_scale=1.5,
    metrics=Metrics(families=[]),
)
JOB = replace(PLAIN, baseline=PLAIN.key)
Run = Callable[[Job], Row]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    work = load(Slot("0", tmp_path_factory.mktemp("gpu"), 1))
    work(JOB, 1, lambda *_: None)
    return lambda job: work(job, 1, lambda *_: None)


@pytest.mark.parametrize(
    "knobs",
    [
        {"offload": "model"},
        {"offload": "sequential"},
        {"offload": "group_block"},
        {"offload": "group_leaf"},
        {"offload": "group_leaf", "offload_stream": True},
        {"offload": "group_leaf", "offload_stream": True, "offload_record_stream": True},
        {"offload": "group_leaf", "offload_stream": True, "offload_low_cpu_memory": True},
    ],
    ids=str,
)
def test_an_offload_keeps_every_bit(run: Run, knobs: Any) -> None:
    row = run(replace(JOB, memory=Memory(**knobs)))
    assert row.status == "ok", row.error
    assert (row.values["equality"], row.values.get("fault")) == ("exact", None)


@pytest.mark.parametrize("offload", ["none", "model", "sequential", "group_block", "group_leaf"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_exact_strategies_go_with_every_offload(run: Run, offload: str, stream: bool) -> None:
    if stream and not offload.startswith("group"):
        pytest.skip("no streams there")
    memory = Memory(
        offload=offload,
        offload_stream=stream,
        split_guidance=True,
        single_token_cross_attention=True,
        forward_chunk_size=2,
    )
    row = run(replace(JOB, memory=memory))
    assert row.status == "ok", row.error
    assert row.values["equality"] in ("exact", "equivalent")


@pytest.mark.parametrize("budget_gib", [0.0, 0.002, 8.0])
@pytest.mark.parametrize("offload", ["none", "model", "sequential", "group_leaf"])
def test_a_streamed_decode_keeps_the_frames(run: Run, offload: str, budget_gib: float) -> None:
    memory = Memory(decode="streamed", decode_budget_gib=budget_gib, offload=offload, transformer_parts=2)
    for _ in range(3):  # copies beside the work would show as frames that differ from time to time
        row = run(replace(JOB, memory=memory))
        assert row.status == "ok", row.error
        assert row.values["equality"] in ("exact", "equivalent")


HALF = replace(PLAIN, model=Model(dtype="float16"))
SHARED_FRAMES_DB = 40
"""What memory=fastest has to keep."""


@pytest.fixture(scope="module")
def run_half(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Memory], Row]:
    work = load(Slot("0", tmp_path_factory.mktemp("half"), 1))
    work(replace(HALF, baseline=HALF.key), 1, lambda *_: None)
    return lambda memory: work(replace(HALF, baseline=HALF.key, memory=memory), 1, lambda *_: None)


def kept(row: Row) -> float:
    """PSNR to the baseline, dB."""
    assert row.status == "ok", row.error
    db = row.values["psnr_to_baseline_db"]
    assert isinstance(db, float)
    return db


@pytest.mark.parametrize(
    "company",
    [
        {},
        {"fused_qkv": True, "single_token_cross_attention": True},
        {"split_guidance": True, "transformer_parts": 2, "offload": "group_leaf", "offload_stream": True},
        {"offload": "model", "compile": "regional"},
    ],
    ids=str,
)
def test_the_measured_kernels_keep_the_frames_and_are_told(
    run_half: Callable[[Memory], Row], company: Any
) -> None:
    row = run_half(Memory(attention="measured", **company))
    assert kept(row) > SHARED_FRAMES_DB
    told = [note for note in row.notes if note.startswith("attention, ")]
    assert told
    assert all("flash" in note and "eager" in note for note in told)
    assert not any("math" in note for note in told), "float32 copies of half precision"


def test_channels_last_keeps_the_frames(run_half: Callable[[Memory], Row]) -> None:
    assert kept(run_half(Memory(channels_last=True))) > SHARED_FRAMES_DB


@pytest.mark.parametrize("trial", [False, True])
@pytest.mark.parametrize(
    "company",
    [
        {},
        {"channels_last": True},
        {"channels_last": True, "offload": "sequential"},
        {"offload": "group_leaf", "offload_stream": True, "decode": "streamed"},
        {"channels_last": True, "offload": "model", "compile": "regional"},
    ],
    ids=str,
)
def test_convolutions_over_time_in_two_dimensions_keep_the_frames(
    run_half: Callable[[Memory], Row], company: Any, trial: bool
) -> None:
    assert kept(run_half(Memory(temporal_conv2d=True, cudnn_benchmark=trial, **company))) > SHARED_FRAMES_DB


@pytest.mark.parametrize("ahead", [True, False])
def test_the_loop_waits_for_nothing_where_it_is_told_to(ahead: bool) -> None:
    device = torch.device("cuda", 0)
    pipe: Any = load_pipeline(Model(), device)
    prepare(pipe, Memory(launch_ahead=ahead), device)

    def watch(_pipe: Any, step: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
        torch.cuda.set_sync_debug_mode("error" if step < PLAIN.num_inference_steps - 1 else "default")
        return {}

    def run() -> None:
        pipe(
            PIL.Image.new("RGB", (64, 64)),
            height=64,
            width=64,
            num_frames=4,
            num_inference_steps=PLAIN.num_inference_steps,
            callback_on_step_end=watch,
        )

    try:
        if ahead:
            run()
        else:
            with pytest.raises(RuntimeError, match="synchroniz"):
                run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("company", [{}, {"attention": "flash"}, {"offload": "model"}], ids=str)
def test_products_in_fp8_run_where_the_gpu_has_them_and_are_refused_where_not(
    run_half: Callable[[Memory], Row], company: Any
) -> None:
    row = run_half(Memory(unet_weights="fp8_products", fused_qkv=True, **company))
    if torch.cuda.get_device_capability() < (8, 9):
        assert (row.status, "no fp8 products" in row.error) == ("rejected", True)
    else:
        assert kept(row) > 20


@pytest.mark.timeout(1800)
def test_the_fastest_preset_runs_compiled(run_half: Callable[[Memory], Row]) -> None:
    (job,) = expand(["memory=fastest", "num_inference_steps=3"]).jobs
    row = run_half(job.memory)
    assert kept(row) > SHARED_FRAMES_DB
    assert any(note.startswith("attention, ") for note in row.notes)


@pytest.mark.timeout(1800)
def test_cuda_graphs_are_replayed_for_one_picture_after_the_other(tmp_path: Path) -> None:
    """The second picture is where graphs whose steps are not marked fail (diffusers' issue 10317)."""
    (job,) = expand(["memory=cuda_graphs", "num_inference_steps=3"]).jobs
    work = load(Slot("0", tmp_path, 1))
    for picture in ("rocket.jpg", "coffee.jpg"):
        plain = replace(PLAIN, image=Image(path=picture))
        work(replace(plain, baseline=plain.key), 1, lambda *_: None)
        row = work(replace(plain, baseline=plain.key, memory=job.memory), 1, lambda *_: None)
        assert kept(row) > SHARED_FRAMES_DB


def test_peaks_energy_and_times_are_the_devices(run: Run) -> None:
    row = run(replace(JOB, seed=1, baseline=""))
    values: dict[str, Any] = row.values
    assert 0 < values["denoise_vram_allocated_peak_gib"] <= values["vram_allocated_peak_gib"]
    assert values["vram_allocated_peak_gib"] <= values["vram_reserved_peak_gib"]
    assert values["vram_before_gib"] > 0
    assert row.provenance["gpu"]
    stages = ("image_encode_s", "vae_encode_s", "denoise_s", "vae_decode_s")
    assert sum(values[s] for s in stages) == pytest.approx(values["total_s"], rel=0.05)


def test_a_smaller_card_runs_out_of_memory_and_says_where(run: Run) -> None:
    big = Model(weights="random", architecture="svd", dtype="float16")
    row = run(replace(JOB, baseline="", model=big, gpu=Gpu(memory_limit_gib=2)))
    assert (row.status, row.phase) == ("oom", "load")
    assert run(replace(JOB, seed=2, baseline="")).status == "ok"


def test_as_many_frames_are_decoded_at_once_as_fit(run: Run) -> None:
    row = run(replace(JOB, baseline="", decode_chunk_size="auto"))
    assert row.values["decode_frames"] == 4


def test_fast_metrics_of_the_gpu_are_those_of_the_cpu():
    frames, reference = np.random.default_rng(0).integers(0, 256, (2, 5, 96, 160, 3), dtype=np.uint8)
    frames[:] = np.arange(160, dtype=np.uint8)[:, None] + frames // 8  # a picture with some grain
    at = {
        d: score(frames, Context(frames[0], 4, d, reference=reference), Metrics().families)
        for d in ("cpu", "cuda")
    }
    for name, value in at["cpu"].values.items():
        near = isinstance(value, float)
        assert at["cuda"].values[name] == (pytest.approx(value, rel=1e-3, abs=1e-3) if near else value), name
