"""The arithmetic of seams, and when there is none."""

import math

import numpy as np
import pytest
from clips import Surface, judder, pan

from svdsweep.metrics import Context, score
from svdsweep.metrics.seams import FLOOR_255, borders, ratio_at

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
