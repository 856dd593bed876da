"""Likeness by the pipeline's own CLIP encoder: a small random one shows that it is called as the pipeline calls it."""

import numpy as np
import pytest
import torch
from clips import Surface, cut, pan, static
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from svdsweep.metrics import Context, score
from svdsweep.metrics.clip import embed
from svdsweep.metrics.shared.footage import as_tensor

HERE = Surface("textured")


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        patch_size=32,
        projection_dim=16,
    )
    return {
        "image_encoder": CLIPVisionModelWithProjection(config).eval(),
        "feature_extractor": CLIPImageProcessor(),
    }


def test_without_the_encoder_there_is_a_status(parts):
    scores = score(pan(HERE, 3, 1).frames, Context(), ["clip"])
    assert scores.values["clip_consistency"] is None
    assert scores.values["clip_status"] == "unavailable: no image encoder"
    assert "pipeline" in scores.notes[0]


def test_a_picture_is_embedded_as_the_pipeline_embeds_it(parts):
    from diffusers import StableVideoDiffusionPipeline

    frame = pan(HERE, 1, 0).frames[0]
    pipe = StableVideoDiffusionPipeline.__new__(StableVideoDiffusionPipeline)
    from diffusers.video_processor import VideoProcessor

    for name, part in {**parts, "video_processor": VideoProcessor(vae_scale_factor=8)}.items():
        object.__setattr__(pipe, name, part)
    with torch.no_grad():
        theirs = pipe._encode_image(Image.fromarray(frame), torch.device("cpu"), 1, False)[0, 0]
        mine = embed(Context(**parts), as_tensor(frame[None], torch.device("cpu")))
    assert mine.numpy() == pytest.approx((theirs / theirs.norm()).numpy(), abs=1e-5)


def test_a_standing_picture_is_the_same_throughout(parts):
    frames = static(HERE, 4).frames
    v = score(frames, Context(image=frames[0], **parts), ["clip"]).values
    assert v["clip_status"] == "ok"
    assert v["clip_consistency"] == pytest.approx(1, abs=1e-5)
    assert v["clip_to_image"] == pytest.approx(1, abs=1e-5)
    assert v["clip_to_image_drift"] == pytest.approx(0, abs=1e-5)


def test_the_formula_is_the_mean_of_the_likeness_to_the_frame_before_and_to_the_first(parts):
    frames = cut(HERE, 4).frames
    scores = score(frames, Context(image=frames[0], **parts), ["clip"])
    with torch.no_grad():
        e = [embed(Context(**parts), as_tensor(f[None], torch.device("cpu"))) for f in frames]
    cosine = np.array([[float(a @ b) for a in e] for b in e]).clip(0)
    truth = np.mean([(cosine[t - 1, t] + cosine[0, t]) / 2 for t in range(1, 4)])
    assert scores.values["clip_consistency"] == pytest.approx(truth, abs=1e-5)
    assert scores.series["clip_to_image"] == pytest.approx(cosine[0], abs=1e-5)


def test_an_encoder_in_half_precision_answers_in_float32(parts):
    frames = static(HERE, 2).frames
    half = {**parts, "image_encoder": parts["image_encoder"].to(torch.bfloat16)}
    try:
        v = score(frames, Context(**half), ["clip"]).values
    finally:
        parts["image_encoder"].float()
    assert v["clip_consistency"] == pytest.approx(1, abs=1e-3)
