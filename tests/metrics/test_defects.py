"""Which frames count as no pictures, each on both sides of its limit."""

import pytest
from by_hand import made_up

from svdsweep.metrics import Context
from svdsweep.metrics.defects import score

LUMA = [0.299, 0.587, 0.114]


def with_frames(*paint):
    """Grey footage, each frame half of one value and half of another; what `defects` says of it."""
    footage = made_up(len(paint))
    for frame, (left, right) in zip(footage.frames, paint, strict=True):
        frame[:, :8], frame[:, 8:] = left, right
    return footage.frames, score(footage, Context(nonfinite_values=7))


def test_a_frame_whose_luma_varies_by_less_than_two_levels_is_flat():
    frames, scores = with_frames((100, 103), (100, 105), (9, 200), (60, 60))
    assert scores.series["contrast_255"] == pytest.approx((frames @ LUMA).std((1, 2)), abs=1e-3)
    assert scores.values["flat_frames"] == 2


def test_a_frame_is_black_without_luma_above_four_levels():
    assert with_frames((3, 0), (3, 5), (3, [9, 0, 0]), (0, 200))[1].values["black_frames"] == 2


def test_a_frame_that_hardly_differs_from_the_one_before_is_frozen():
    assert with_frames((9, 200), (9, 200), (9, 201), (10, 200), (10, 200))[1].values["frozen_frames"] == 2


def test_a_frame_is_saturated_with_more_than_half_of_its_values_at_either_end():
    frames = [(0, 9), (255, 9), (0, [0, 9, 9]), (255, [9, 9, 255]), ([0, 255, 9], [255, 0, 9]), (1, 254)]
    scores = with_frames(*frames)[1]
    assert scores.values == {
        "nonfinite_values": 7,
        "flat_frames": 0,
        "black_frames": 0,
        "frozen_frames": 0,
        "saturated_frames": 3,
    }
    assert type(scores.values["saturated_frames"]) is int
    assert scores.notes == []
