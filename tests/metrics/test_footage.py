"""What is derived from a clip once for all families, and which arrays are no clip."""

import numpy as np
import pytest
import torch
from clips import Surface, pan

from svdsweep.errors import UserError
from svdsweep.metrics import Context
from svdsweep.metrics.shared import footage as module
from svdsweep.metrics.shared.footage import Footage
from svdsweep.metrics.shared.likeness import as_tensor

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (
            FRAMES / 255,
            "Frames must be uint8 in 0–255, and these are float64: multiply by 255 and round first.",
        ),
        (FRAMES[..., 0], "Frames must be RGB of shape (F, H, W, 3), and these are grey (3×8×12)."),
        (FRAMES[..., :1], "Frames must be RGB of shape (F, H, W, 3), and these are grey (3×8×12×1)."),
        (FRAMES[..., :2], "Frames must be RGB of shape (F, H, W, 3), and these are not RGB (3×8×12×2)."),
        (FRAMES[0, 0], "Frames must be RGB of shape (F, H, W, 3), and these are not RGB (12×3)."),
        (FRAMES[:0], "There are no frames (0×8×12×3)."),
        (FRAMES[:, :7], "Frames must be at least 8 px high and wide, and these are 12×7."),
        (FRAMES[:, :, :7], "Frames must be at least 8 px high and wide, and these are 7×8."),
    ],
    ids=["floats", "grey", "one channel", "two channels", "a row", "none", "low", "narrow"],
)
def test_an_array_that_is_no_clip_is_refused_in_a_sentence(frames, sentence):
    with pytest.raises(UserError) as e:
        Footage(frames)
    assert str(e.value) == sentence


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (
            Context(image=FRAMES[0, :, :8]),
            "The conditioning image is 8×8 and the frames are 12×8: give it as the pipeline saw it.",
        ),
        (
            Context(reference=np.repeat(FRAMES, 2, 1)),
            "The baseline is 12×16 and the frames are 12×8: give it as the pipeline saw it.",
        ),
        (
            Context(image=FRAMES[0, ..., 0]),
            "The conditioning image cannot be compared with: Frames must be RGB of shape (F, H, W, 3), and these are "
            "not RGB (8×12).",
        ),
    ],
    ids=["image", "baseline", "grey image"],
)
def test_pictures_of_another_size_or_kind_are_refused(context, sentence):
    with pytest.raises(UserError) as e:
        Footage(FRAMES).check_context(context)
    assert str(e.value) == sentence


def test_pictures_of_the_frames_size_are_welcome_even_of_another_number():
    Footage(FRAMES).check_context(Context())
    Footage(FRAMES).check_context(Context(image=FRAMES[0], reference=FRAMES[:2]))


def test_frames_become_channels_first_in_0_to_1():
    footage = Footage(FRAMES, torch.device("meta"))
    assert (footage.count, footage.height, footage.width, footage.short_side_px) == (3, 8, 12, 8)
    assert footage.device.type == "meta"
    assert as_tensor(FRAMES, torch.device("cpu")).numpy() == pytest.approx(FRAMES.transpose(0, 3, 1, 2) / 255)
    pictures = [x.numpy() for x in Footage(FRAMES).pictures()]
    assert [x.shape for x in pictures] == [(1, 3, 8, 12)] * 3
    assert np.concatenate(pictures) == pytest.approx(FRAMES.transpose(0, 3, 1, 2) / 255)


def test_a_clip_above_288_px_is_reduced_for_the_flow_and_speeds_are_of_the_full_size():
    large = Footage(np.zeros((2, 300, 432, 3), np.uint8))
    large.flows = (torch.ones(1, 2, 288, 415),) * 2
    assert large.small.shape == (2, 3, 288, 415)
    assert large.px_per_small_px.flatten().tolist() == pytest.approx([432 / 415, 300 / 288])
    assert large.speed_px.unique().tolist() == pytest.approx([np.hypot(432 / 415, 300 / 288)])
    assert Footage(np.zeros((1, 288, 300, 3), np.uint8)).small.shape == (1, 3, 288, 300)


def test_flow_is_the_same_however_many_pairs_are_taken_at_once(monkeypatch):
    frames = pan(Surface("textured", (24, 36)), 4, 1).frames
    several = Footage(frames).flows
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 2)
    for one, other, sign in zip(several, Footage(frames).flows, (1, -1), strict=True):
        assert one.shape == (3, 2, 24, 36)
        assert one[:, :, 8:-8, 8:-8].mean((0, 2, 3)).tolist() == pytest.approx(
            [sign * 0.894, sign * 0.447], abs=0.2
        )
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-4)


def test_warps_lay_the_neighbour_over_a_frame_and_masks_say_where():
    """The picture moves by a whole pixel: the flow is given, and the warp is the neighbour's own values."""
    wide = np.random.default_rng(1).integers(0, 256, (8, 14, 3), dtype=np.uint8)
    footage = Footage(np.stack([wide[:, 2 - t : 14 - t] for t in range(3)]))
    right = torch.tensor([1.0, 0.0])[:, None, None].expand(2, 2, 8, 12)
    footage.flows = (right, -right)
    ahead, behind = footage.warps
    assert ahead[0, ..., :-1].numpy() == pytest.approx(footage.small[0, ..., :-1].numpy(), abs=1e-5)
    assert behind[1, ..., 1:].numpy() == pytest.approx(footage.small[2, ..., 1:].numpy(), abs=1e-5)
    seen_ahead, seen_behind = footage.masks
    assert seen_ahead.float().mean((0, 1)).tolist() == [1.0] * 11 + [0.0]
    assert seen_behind.float().mean((0, 1)).tolist() == [0.0] + [1.0] * 11
    assert footage.coverage == pytest.approx([11 / 12] * 2)
    assert footage.warp_mse == pytest.approx([0, 0], abs=1e-9)


def test_warps_between_pixels_are_cubic_and_stay_in_range():
    """Half a pixel by cubic convolution: the four pixels about it, weighed by −3/32, 19/32, 19/32 and −3/32."""
    footage = Footage(FRAMES)
    half = torch.tensor([0.5, 0.0])[:, None, None].expand(2, 2, 8, 12)
    footage.flows = (half, -half)
    x = FRAMES.transpose(0, 3, 1, 2) / 255
    between = (19 * (x[..., 1:-2] + x[..., 2:-1]) - 3 * (x[..., :-3] + x[..., 3:])) / 32
    assert between.min() < 0 < 1 < between.max()
    ahead, behind = footage.warps
    assert ahead[..., 1:-2].numpy() == pytest.approx(between[1:].clip(0, 1), abs=1e-4)
    assert behind[..., 2:-1].numpy() == pytest.approx(between[:-1].clip(0, 1), abs=1e-4)


def test_a_pair_is_covered_from_three_tenths_of_the_picture_on():
    footage = Footage(FRAMES)
    footage.coverage = [0.3, 0.2999]
    assert footage.covered == [True, False]
