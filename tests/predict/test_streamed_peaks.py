"""What decode=streamed and memory=smallest are predicted to hold: their own code runs over fake tensors."""

import dataclasses

import pytest
import torch
from foreseen import under

from svdsweep.config import Job
from svdsweep.grid.expand import expand
from svdsweep.memory.apply import prepare
from svdsweep.models.architectures import architecture
from svdsweep.models.load import on_meta
from svdsweep.predict.fake_gpu import fake_gpu, materialize
from svdsweep.predict.prediction import GIB, MIB, Stage
from svdsweep.predict.repeats import shortened_loops
from svdsweep.predict.simulate import DEVICE, Run, on_meta_pipeline, quiet, simulate
from svdsweep.predict.tracker import Tracker

FRAME_GIB = 128 * 576 * 1024 * 2 / GIB
"""Of the decoder's last features in float16."""
FRAMES = 25


def decode(job: Job, **knobs: object) -> Stage:
    """The decode alone, as `simulate` has it."""
    job = under(dataclasses.replace(job, decode_chunk_size="all"), **knobs)
    tracker = Tracker()
    pipe = on_meta_pipeline(job.model.architecture)
    with quiet(), fake_gpu(tracker.is_weight), tracker, shortened_loops(tracker):
        for network in (pipe.unet, pipe.vae, pipe.image_encoder):
            materialize(network, getattr(torch, job.model.dtype))
        prepare(pipe, job.memory, DEVICE)
        channels = pipe.vae.config.latent_channels
        latents = torch.empty(1, job.num_frames, channels, job.height // 8, job.width // 8, device=DEVICE)
        latents = latents.to(pipe.vae.dtype)
        return Run(pipe, job, tracker).decode(latents, job.num_frames)["vae_decode"]


@pytest.mark.parametrize(
    ("offload", "dtype"),
    [
        *(
            pytest.param(offload, "float16", marks=pytest.mark.slow)
            for offload in ("none", "model", "group_block", "sequential")
        ),
        ("group_leaf", "float16"),
        ("streamed", "float16"),
        pytest.param("streamed", "float32", marks=pytest.mark.slow),
    ],
)
def test_every_offload_brings_the_weights_of_each_layer_to_the_device(
    tiny_job: Job, offload: str, dtype: str
) -> None:
    job = dataclasses.replace(tiny_job, num_frames=2, model=dataclasses.replace(tiny_job.model, dtype=dtype))
    way = {"offload": "group_leaf", "offload_stream": True} if offload == "streamed" else {"offload": offload}
    assert decode(job, decode="streamed", decode_budget_gib=0.0, **way).d2h_gib > 0


@pytest.mark.slow
def test_frames_that_fit_the_budget_are_not_moved(tiny_job: Job) -> None:
    job = dataclasses.replace(tiny_job, height=128, width=128)
    spilled, part, kept = (decode(job, decode="streamed", decode_budget_gib=gib) for gib in (0.0, 0.005, 8.0))
    assert (kept.h2d_gib, kept.d2h_gib, kept.host_gib) == (0, 0, 0)
    assert 0 < part.h2d_gib < spilled.h2d_gib
    assert spilled.peak_gib < part.peak_gib <= spilled.peak_gib + 0.005
    assert part.peak_gib < kept.peak_gib < decode(job).peak_gib
    assert spilled.tflop == pytest.approx(decode(job).tflop, rel=1e-3)
    assert spilled.overlapped


def test_a_frame_is_written_twice_and_read_three_times_a_block(tiny_job: Job) -> None:
    stage = decode(tiny_job, decode="streamed", decode_budget_gib=0.0)
    assert stage.h2d_gib == pytest.approx(1.5 * stage.d2h_gib, rel=0.001)


@pytest.mark.slow
def test_the_smallest_keeps_the_frames_of_svd_xt_in_less_than_two_and_a_half_gib() -> None:
    """25 frames of 576×1024 under guidance; page-locked weights as CUDA's host allocator rounds them. An H200 held 2.28
    GiB, 1.94 in the decode, and 13.2 GiB of page-locked host memory."""
    (job,) = expand(["memory=smallest", "model=svd_xt", "model.weights=random"]).jobs
    assert (job.memory.decode, job.frames_per_decode, job.num_frames) == ("streamed", FRAMES, FRAMES)
    prediction = simulate(job, [FRAMES])[FRAMES]
    assert prediction.peak_gib == pytest.approx(2.28, abs=0.08)
    decode = prediction.stages["vae_decode"]
    assert decode.peak_gib == pytest.approx(1.94, abs=0.08)
    assert 2 * FRAMES * FRAME_GIB <= decode.host_gib <= 8.5
    assert (decode.h2d_gib, decode.d2h_gib) == (pytest.approx(58.8, abs=0.5), pytest.approx(39.1, abs=0.5))
    networks = on_meta(architecture("svd_xt"))
    rounded = sum(
        1 << (2 * p.numel() - 1).bit_length()
        for name in ("unet", "image_encoder")
        for p in networks[name].parameters()
    )
    assert rounded / GIB + 0.2 + decode.host_gib <= 16


@pytest.mark.slow
def test_a_streamed_decode_of_svd_xt_beside_whole_and_chunked_ones(full_job: Job) -> None:
    job = under(full_job, offload="model")
    plain = simulate(job, [8])
    streamed = decode(job, offload="model", decode="streamed")
    assert decode(job, offload="model").peak_gib == pytest.approx(28.3, abs=0.3)
    assert streamed.peak_gib < plain[8].stages["vae_decode"].peak_gib
    assert (streamed.h2d_gib, streamed.host_gib) == (pytest.approx(186 * MIB / GIB, rel=0.05), 0)
