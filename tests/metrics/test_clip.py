"""Likeness by the pipeline's own CLIP encoder: a small random one shows that it is called as the pipeline calls it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clips import Surface, cut, pan, static
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from svdsweep.metrics import Context, score
from svdsweep.metrics.clip import _device_of, embed
from svdsweep.metrics.shared.likeness import as_tensor

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
    for part in parts:
        scores = score(static(HERE, 1).frames, Context(**{part: parts[part]}), ["clip"])
        assert scores.values == {
            "clip_consistency": None,
            "clip_to_image": None,
            "clip_to_image_drift": None,
            "clip_status": "unavailable: no image encoder",
        }
        assert scores.notes == [
            "clip is unavailable: it needs the pipeline's image encoder, so only a sweep has it"
        ]


def test_one_frame_is_like_the_image_only_and_without_an_image_the_frames_are_like_one_another(parts):
    frames = static(HERE, 2).frames
    one = score(frames[:1], Context(image=frames[0], **parts), ["clip"]).values
    assert (one["clip_consistency"], one["clip_to_image_drift"]) == (None, None)
    assert one["clip_to_image"] == pytest.approx(1, abs=1e-5)
    two = score(frames, Context(**parts), ["clip"])
    assert two.values["clip_consistency"] == pytest.approx(1, abs=1e-5)
    assert (two.values["clip_to_image"], two.values["clip_to_image_drift"], two.series) == (None, None, {})


def test_an_offloaded_encoder_is_given_its_pictures_where_it_computes(parts):
    assert _device_of(parts["image_encoder"]) == torch.device("cpu")
    encoder = SimpleNamespace(_hf_hook=SimpleNamespace(execution_device="cuda:3"), parameters=None)
    assert _device_of(encoder) == "cuda:3"
    encoder._hf_hook.execution_device = None
    encoder.parameters = parts["image_encoder"].parameters
    assert _device_of(encoder) == torch.device("cpu")


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
    assert scores.values["clip_to_image"] == pytest.approx(cosine[0].mean(), abs=1e-5)
    assert scores.values["clip_to_image_drift"] == pytest.approx(cosine[0, 3] - 1, abs=1e-5)


def test_an_encoder_in_half_precision_answers_in_float32(parts):
    frames = static(HERE, 2).frames
    half = {**parts, "image_encoder": parts["image_encoder"].to(torch.bfloat16)}
    try:
        v = score(frames, Context(**half), ["clip"]).values
    finally:
        parts["image_encoder"].float()
    assert v["clip_consistency"] == pytest.approx(1, abs=1e-3)
