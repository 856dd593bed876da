"""A run whose frames are no pictures is told apart, whatever was asked for: real pipelines with spoilt decoders."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pipelines
import pytest
import torch

from svdsweep.config import Image, Job, Memory, Metrics
from svdsweep.store.defects import defect
from svdsweep.store.measurements import Measurements
from svdsweep.store.rows import Row, Store
from svdsweep.worker import outputs, worker
from svdsweep.worker.baseline import Kept, baseline_path, write_kept
from svdsweep.worker.contract import Slot
from svdsweep.worker.measuring import Output
from svdsweep.worker.outputs import to_uint8

PLAIN = Job(
    image=Image(name="rocket", path="rocket.jpg"),
    num_frames=3,
    height=32,
    width=48,
    num_inference_steps=1,
    metrics=Metrics(families=[]),
)
Spoil = Callable[[Any], object]


def nowhere_finite(decoder: Any) -> None:
    decoder.time_conv_out.bias.fill_(math.nan)


def red_is_not_finite(decoder: Any) -> None:
    decoder.time_conv_out.bias[0] = math.nan


def black(decoder: Any) -> None:
    decoder.time_conv_out.bias.fill_(-100)


def of_one_colour(decoder: Any) -> None:
    decoder.time_conv_out.weight.zero_()


def frozen(decoder: Any) -> None:
    """Each frame is the first one."""
    whole = decoder.forward
    decoder.forward = lambda *a, **k: whole(*a, **k)[:1].expand(PLAIN.num_frames, -1, -1, -1)


def test_levels_are_rounded_and_what_is_not_a_number_is_black() -> None:
    values = [0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0, 1.5, -0.5, math.nan, math.inf, -math.inf]
    levels = to_uint8(np.array([values], np.float32))
    assert levels[0].tolist() == [0, 0, 1, 255, 255, 255, 0, 0, 255, 0]


def test_metrics_are_told_the_frames_of_a_decode_and_what_else_only_the_run_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(outputs, "score", lambda *asked: heard.append(asked) or Measurements())
    monkeypatch.setattr(outputs, "against_baseline", lambda *_: Measurements())
    monkeypatch.setattr(outputs, "write_video", lambda path, frames, *rest: heard.append((path, *rest)))
    base = Kept(np.full((3, 32, 48, 3), 9, np.uint8), np.zeros((1, 3, 4, 4, 6), np.float32), 3, "cpu")
    write_kept(baseline_path(tmp_path, "base"), base)
    networks = {"image_encoder": "an encoder", "feature_extractor": "an extractor"}
    pipe = SimpleNamespace(**networks, maybe_free_model_hooks=lambda: None)
    frames = np.zeros((3, 32, 48, 3), np.float32)
    frames[0, 0, 0, 0] = math.nan
    job = replace(PLAIN, decode_chunk_size="auto", metrics=Metrics(families=["baseline", "defects", "seams"]))
    job = replace(job, fps=11, baseline="base")
    output = Output(frames, torch.zeros(1, 3, 4, 4, 6), None)  # type: ignore[arg-type]
    picture = np.full((32, 48, 3), 7, np.uint8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    made = outputs.Made(job, picture, 2, output, None, torch.device("cpu"), pipe)
    outputs.judge(made, tmp_path, lambda _: None)
    video, (_, context, families) = sorted(heard, key=lambda asked: not isinstance(asked[0], Path))
    assert video == (tmp_path / "videos" / f"{job.key}.mp4", 11, 5)
    families_told = ["defects", "baseline", "seams"]
    assert (context.decode_chunk_size, context.nonfinite_values, context.device) == (2, 1, "cpu")
    assert (context.image_encoder, context.feature_extractor) == ("an encoder", "an extractor")
    assert (context.image.mean(), context.reference.mean(), families) == (7, 9, families_told)


def spoilt(monkeypatch: pytest.MonkeyPatch, folder: Path, spoil: Spoil, job: Job = PLAIN) -> Row:
    """The row of a job whose decoder was changed."""

    def load(*arguments: Any) -> Any:
        pipe = pipelines.copied(*arguments)
        with torch.no_grad():
            spoil(pipe.vae.decoder)
        return pipe

    monkeypatch.setattr(worker, "load_pipeline", load)
    return worker.load(Slot("cpu", folder, 1))(job, 1, lambda *_: None)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (red_is_not_finite, "4,608 values of the frames are not finite"),
        (black, "All 3 frames are black"),
        (of_one_colour, "All 3 frames are of one colour"),
        (frozen, "All 3 frames are the same"),
    ],
)
def test_a_broken_video_is_defective_with_what_usually_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Spoil, reason: str
) -> None:
    row = spoilt(monkeypatch, tmp_path, spoil)
    assert (row.status, row.phase, row.final) == ("defective", "", True)
    assert row.error.startswith(reason)
    assert "What usually mends it" in row.error
    assert (tmp_path / str(row.values["video"])).exists()
    assert row.values["total_s"]


def test_a_clip_of_which_nothing_is_finite_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = spoilt(monkeypatch, tmp_path, nowhere_finite)
    assert row.status == "failed"
    assert row.error.startswith("Every value of the frames is NaN or infinite. What usually mends it")
    assert "memory.vae_dtype=float32" in row.error
    assert "video" not in row.values


def test_standing_still_is_no_defect_where_no_motion_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert spoilt(monkeypatch, tmp_path, frozen, replace(PLAIN, motion_bucket_id=0)).status == "ok"


def test_the_pictures_of_random_weights_mean_nothing_and_are_no_defect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    random = replace(PLAIN, model=replace(PLAIN.model, weights="random"))
    assert spoilt(monkeypatch, tmp_path, of_one_colour, random).status == "ok"
    assert spoilt(monkeypatch, tmp_path, red_is_not_finite, random).status == "defective"


def test_nothing_is_compared_with_a_broken_baseline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = replace(PLAIN, baseline=PLAIN.key)
    assert spoilt(monkeypatch, tmp_path, black, asked).status == "defective"
    row = spoilt(monkeypatch, tmp_path, lambda _: None, replace(asked, memory=Memory(offload="model")))
    assert row.status == "ok"
    assert row.values.get("psnr_to_baseline_db") is None


def test_a_row_that_was_stored_as_well_is_read_as_what_it_is(tmp_path: Path) -> None:
    Store(tmp_path).append(Row(PLAIN, "ok", values={"black_frames": 1, "total_s": 1.0}))
    (row,) = Store(tmp_path).rows().values()
    assert row.status == "defective"
    assert row.error.startswith("1 of 3 frames is black")


def test_a_frame_of_little_contrast_among_others_is_no_defect() -> None:
    assert not defect(PLAIN, {"flat_frames": 1})
    assert defect(PLAIN, {"flat_frames": 2}).startswith("2 of 3 frames are of one colour")
