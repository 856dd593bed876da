"""A job with another decoder decodes the latents of the one before, and is compared with the true decode."""

from dataclasses import replace
from pathlib import Path

from svdsweep.config import Image, Job, Memory, Metrics, Model
from svdsweep.models.decoders.locate import with_decoder
from svdsweep.models.locate import resolve
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import load

PLAIN = Job(
    model=resolve(Model()),
    image=Image(name="rocket", path="rocket.jpg"),
    num_frames=3,
    height=32,
    width=48,
    num_inference_steps=2,
    max_guidance_scale=1.5,
    metrics=Metrics(families=[]),
)
JOB = replace(PLAIN, baseline=PLAIN.key)


def test_latents_are_denoised_once_for_all_decoders_and_their_frames_are_held_against_the_true_ones(
    tmp_path: Path,
) -> None:
    work = load(Slot("cpu", tmp_path, 1))
    true = work(JOB, 1, lambda *_: None)
    other = replace(JOB, model=with_decoder(replace(JOB.model, decoder="taesd")))
    row = work(other, 1, lambda *_: None)
    assert true.status == row.status == "ok", (true.error, row.error)
    assert row.values["latency_shared_with"] == JOB.key
    assert row.values["latents_bit_equal_to_baseline"]
    assert row.values["equality"] in ("near", "different")
    assert row.values["psnr_to_baseline_db"] > 10
    assert "fault" not in row.values
    assert row.values["decode_frames"] == 1
    assert row.series["denoise_s"] == true.series["denoise_s"]
    alone = replace(other, memory=Memory(offload="model"), decode_chunk_size=1)
    row = work(alone, 1, lambda *_: None)
    assert row.notes == ["decode_chunk_size passed over: model.decoder=taesd decodes frame by frame"]
    assert "latency_shared_with" not in row.values
    assert "fault" not in row.values
