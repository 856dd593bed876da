"""The arithmetic of seams, and when there is none."""

import math

import numpy as np
import pytest
from by_hand import made_up
from clips import Surface, judder, pan

from svdsweep.metrics import Context, score
from svdsweep.metrics.seams import FLOOR_255, borders, ratio_at
from svdsweep.metrics.seams import score as score_seams

HERE = Surface("textured")


def test_a_border_lies_between_the_last_frame_of_a_chunk_and_the_next():
    assert borders(13, 5) == [4, 9]
    assert borders(24, 8) == [7, 15, 23]
    assert borders(13, 5, phase=1) == [0, 5, 10]


def test_the_ratio_is_the_change_over_the_median_of_its_neighbours():
    change = [1.0, 2.0, 1.0, 4.0, 9.0, 3.0, 2.0]
    expected = (9 + FLOOR_255) / (2.5 + FLOOR_255)
    assert ratio_at(change, 5, 0) == pytest.approx(expected)


def test_unknown_pairs_are_left_out():
    assert ratio_at([1.0, 1.0, 1.0, None, 9.0, None, 1.0], 5, 0) == pytest.approx((9.25) / 1.25)
    assert ratio_at([1.0, 1.0, 1.0, 1.0, None, 1.0, 1.0], 5, 0) is None


def test_a_seam_so_strong_that_the_flow_breaks_off_there_is_flagged_without_a_ratio():
    frames = np.concatenate([pan(Surface("textured", seed=s), 5, 0.5).frames for s in range(3)])
    scores = score(frames, Context(decode_chunk_size=5), ["seams"])
    assert scores.values["seam_flagged"] is True
    assert scores.values["seam_ratio"] is None
    assert "nowhere else" in scores.notes[0]
    other = score(frames, Context(decode_chunk_size=4), ["seams"])
    assert other.values["seam_flagged"] is not True


def test_several_borders_count_by_their_geometric_mean():
    change = [1.0] * 14
    change[4], change[9] = 3.0, 7.0
    one, two = ((c + FLOOR_255) / (1 + FLOOR_255) for c in (3.0, 7.0))
    assert ratio_at(change, 5, 0) == pytest.approx(math.sqrt(one * two))


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_too_short_have_no_ratio_and_a_note(chunk):
    scores = score(pan(HERE, 8, 1).frames, Context(decode_chunk_size=chunk), ["seams"])
    assert scores.values["seam_ratio"] is None
    assert f"chunks of {chunk}" in scores.notes[0]


@pytest.mark.parametrize("chunk", [None, 8, 20])
def test_frames_decoded_at_once_have_no_seam(chunk):
    scores = score(pan(HERE, 8, 1).frames, Context(decode_chunk_size=chunk), ["seams"])
    assert scores.values["seam_ratio"] is None
    assert scores.notes == []


def test_repeated_frames_have_no_ratio_and_a_note():
    scores = score(judder(HERE, 9, 1).frames, Context(decode_chunk_size=4), ["seams"])
    assert scores.values["seam_flagged"] is None
    assert "repeated frames" in scores.notes[0]


def test_a_clip_of_cuts_has_no_ratio_and_a_note():
    frames = np.concatenate([pan(Surface("textured", seed=s), 1, 0).frames for s in range(6)])
    scores = score(frames, Context(decode_chunk_size=4), ["seams"])
    assert scores.values["seam_ratio"] is None
    assert "too few pairs" in scores.notes[0]


def compared(chunk, **at):
    """What is said of 11 pairs that change by one level, but for those given as `_t=levels`."""
    footage = made_up(12)
    levels = [at.get(f"_{t}", 1.0) for t in range(11)]
    footage.changes = [1.0] * 11
    footage.warp_mse = [None if level is None else (level / 255) ** 2 for level in levels]
    return score_seams(footage, Context(decode_chunk_size=chunk))


def ratio(here, beside=1.0):
    return pytest.approx((here + FLOOR_255) / (beside + FLOOR_255))


def test_a_seam_is_told_with_its_rank_and_the_largest_ratio_of_another_phase():
    scores = compared(8, _7=3.0, _3=1.4)
    assert scores.values == {
        "seam_ratio": ratio(3.0),
        "seam_rank": 1,
        "seam_placebo_ratio": ratio(1.4),
        "seam_flagged": True,
    }
    assert scores.series == {"warp_rmse_255": pytest.approx([1, 1, 1, 1.4, 1, 1, 1, 3, 1, 1, 1])}
    assert scores.notes == []


@pytest.mark.parametrize(
    ("changes", "rank", "flagged"),
    [
        ({"_7": 1.64}, 1, True),  # a ratio of 1.512
        ({"_7": 1.6}, 1, False),  # of 1.48
        ({"_7": 3.0, "_3": 2.5}, 1, False),  # 1.18 times the next
        ({"_7": 3.0, "_3": 2.4}, 1, True),  # 1.23 times
        ({"_7": 3.0, "_8": 7.0}, 1, False),  # the next phase has 5.8 there and 1 at its other border
        ({"_7": 3.0, "_3": 4.0}, 2, False),
        ({"_7": 3.0, "_3": 4.0, "_4": 5.0}, 3, False),
        ({}, 1, False),  # of equal ratios none is before the other
    ],
)
def test_a_seam_is_flagged_that_is_large_the_first_and_well_before_the_next(changes, rank, flagged):
    values = compared(8, **changes).values
    assert (values["seam_rank"], values["seam_flagged"]) == (rank, flagged)


def test_of_the_pairs_beside_a_border_four_count_and_none_across_another_border():
    assert ratio_at([9, 5, 4, 7, 3, 2, 9], 4, 0) == ratio(7, 3.5)
    assert ratio_at([4, 6, 2], 2, 0) == ratio(6, 3)
    assert ratio_at([9, 8, 9, 8, 9, 8], 2, 0) == ratio(8, 9)
    assert ratio_at([3, 1, 1, 1, 1, 5], 5, 1) == pytest.approx(math.sqrt((3.25 / 1.25) * (5.25 / 1.25)))
    assert ratio_at([None, None, 5, None, None], 3, 0) is None
    assert ratio_at([1, 1], 4, 0) is None


def test_a_flow_that_breaks_off_elsewhere_too_flags_nothing():
    assert compared(4, _3=None, _7=None).values["seam_flagged"] is True
    notes = ["seams: the flow breaks off at the borders of the chunks and nowhere else"]
    assert compared(4, _3=None, _7=None).notes == notes
    other = compared(4, _3=None, _7=None, _9=None)
    assert other.values == dict.fromkeys(other.values)
    assert other.notes == ["the flow covers too few pairs for a seam ratio"]


def test_the_shortest_chunk_with_a_ratio_is_four_and_the_longest_one_less_than_the_clip():
    assert compared(4).values["seam_ratio"] == ratio(1.0)
    assert compared(11).values["seam_ratio"] == ratio(1.0)
    assert compared(12).values["seam_ratio"] is None
    assert compared(3).notes == [
        "chunks of 3: too short for a seam ratio; compare with the frames decoded at once"
    ]


def test_a_pair_that_differs_by_a_tenth_of_a_level_is_no_repeated_frame():
    footage = made_up(9)
    footage.changes = [0.1] * 8
    assert score_seams(footage, Context(decode_chunk_size=4)).values["seam_ratio"] > 0
    footage.changes = [0.1] * 7 + [0.0999]
    assert score_seams(footage, Context(decode_chunk_size=4)).notes == ["repeated frames: no seam ratio"]
