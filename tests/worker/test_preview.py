"""A running job has a picture of what its latents show, which is gone with the run and changes nothing in it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pictures

from svdsweep.config import Image, Job, Measure, Metrics, Model
from svdsweep.models.tiny import latents
from svdsweep.store.places import preview_of
from svdsweep.worker.contract import Slot
from svdsweep.worker.preview import Preview, colours_of
from svdsweep.worker.run import NO_COLOURS, PREVIEWED, preview_notes
from svdsweep.worker.worker import load

JOB = Job(
    image=Image(name="rocket", path="rocket.jpg"),
    num_frames=3,
    height=32,
    width=48,
    num_inference_steps=2,
    max_guidance_scale=1.5,
    metrics=Metrics(families=[]),
)


def test_the_colours_of_the_tiny_models_latents_are_the_pictures_own() -> None:
    colour = torch.tensor([0.5, -0.25, 0.75])
    codes = latents.encode(colour[None, :, None, None].expand(1, 3, 16, 16)) * latents.SCALING_FACTOR
    colours = colours_of(latents.CHANNELS)
    assert colours is not None
    shown = torch.einsum("fchw,cr->fhwr", codes, colours)
    # the three colours of the transform are orthonormal to three decimals
    torch.testing.assert_close(shown, colour.expand(1, 2, 2, 3), atol=5e-3, rtol=0)
    assert colours_of(8) is None


def wait_for(path: Path) -> None:
    limit = time.monotonic() + 60
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.01)


@pytest.mark.parametrize("scheduler", ["euler", "unipc"])
def test_the_picture_is_there_while_a_job_runs_and_its_frames_are_the_same(
    tmp_path: Path, scheduler: str
) -> None:
    job = replace(JOB, model=Model(scheduler=scheduler))
    path, sizes = preview_of(tmp_path, job.key), []

    def report(phase: str, _peak: float | None) -> None:
        if phase == "vae_decode":
            wait_for(path)
            with Pictures.open(path) as picture:
                sizes.append(picture.size)

    plain, shown = (load(Slot("cpu", tmp_path, 1, preview=asked)) for asked in (False, True))
    rows = [plain(job, 1, lambda *_: None), shown(job, 1, report)]
    assert sizes == [(3 * 6 * 16, 4 * 16)]  # 3 frames of 4 × 6 latents, enlarged to 64 lines
    assert not path.exists()
    assert rows[0].values["frames_sha256"] == rows[1].values["frames_sha256"]
    assert [PREVIEWED in row.notes for row in rows] == [False, True]


def test_a_model_whose_colours_nobody_knows_has_no_picture_and_its_row_says_so() -> None:
    assert preview_notes(JOB, shown=0) == [NO_COLOURS]
    assert preview_notes(replace(JOB, measure=Measure(repeats=2)), shown=0) == []


def test_runs_whose_times_are_compared_have_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(Preview, "show", lambda _self, latents: shown.append(latents))
    job = replace(JOB, measure=Measure(warmup=1, repeats=2))
    row = load(Slot("cpu", tmp_path, 1, preview=True))(job, 1, lambda *_: None)
    assert len(row.series["total_s"]) == 2
    assert len(shown) == JOB.num_inference_steps  # those of the warm-up
    assert PREVIEWED not in row.notes
