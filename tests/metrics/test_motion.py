"""The arithmetic of motion, against NumPy, with the flow and its masks given."""

import numpy as np
import pytest
import torch
from by_hand import arrays, made_up, uncover

from svdsweep.metrics import Context
from svdsweep.metrics.motion import COLUMNS, score

FAST_PX = 6 / 256 * 8
"""VBench's threshold for a picture whose shorter side is 8 px."""


def at_speeds(*speeds_px):
    """The values of footage 8 px wide and 16 high whose pairs move as a whole, each at its speed."""
    footage = made_up(len(speeds_px) + 1, 16, 8)
    footage.speed_px = torch.tensor(speeds_px)[:, None, None].expand(-1, 16, 8)
    return score(footage, Context()).values


def test_speed_is_the_length_of_the_flow_where_it_holds_and_of_its_fastest_twentieth():
    footage = uncover(made_up(5), 2)
    footage.masks[0][1] = False
    footage.masks[0][1].view(-1)[:59] = (
        True  # 59 points of 192 are covered, and two are their fastest twentieth
    )
    _, flow, _, _, seen, _ = arrays(footage)
    scores = score(footage, Context())
    mean, top = [], []
    for t in (0, 1, 3):
        speeds = np.sort(np.hypot(*flow[t])[seen[t]])
        mean.append(speeds.mean())
        top.append(speeds[-int(0.05 * len(speeds)) :].mean())
    for name, truth in (("motion_px", mean), ("motion_top5_px", top)):
        first, second, last = (pytest.approx(v) for v in truth)
        assert scores.series[name] == [first, second, None, last]
        assert scores.values[name] == pytest.approx(np.mean(truth))
    assert scores.values["motion_pct"] == pytest.approx(100 * np.mean(mean) / 12)
    assert scores.series["flow_coverage"] == pytest.approx(seen.mean((1, 2)))
    assert scores.values["flow_coverage"] == pytest.approx(seen.mean())
    assert scores.values["low_coverage_pairs"] == 1
    assert scores.notes == ["1 of 4 pairs have no flow that can be trusted"]


def test_the_fastest_twentieth_of_few_points_is_the_fastest_one():
    footage = made_up(2, 8)
    footage.masks[0][:] = False
    footage.masks[0].view(-1)[:39] = True
    truth = np.hypot(*arrays(footage)[1][0]).ravel()[:39].max()
    assert score(footage, Context()).values["motion_top5_px"] == pytest.approx(truth)


@pytest.mark.parametrize(
    ("speeds_px", "dynamic"),
    [
        ([FAST_PX], False),
        ([FAST_PX + 0.001], True),
        ([0.0] * 3 + [0.2], True),  # a quarter of 5 frames is one
        ([0.0] * 5 + [0.2], False),  # and of 7 it is two
        ([0.0] * 4 + [0.2] * 2, True),
    ],
)
def test_a_clip_is_dynamic_whose_fastest_part_passes_the_threshold_in_a_quarter_of_the_pairs(
    speeds_px, dynamic
):
    assert at_speeds(*speeds_px)["dynamic"] is dynamic


def test_a_small_thing_that_moves_fast_over_a_still_ground_makes_a_clip_dynamic():
    footage = made_up(2, 16, 8)
    footage.speed_px = torch.zeros(1, 16, 8)
    footage.speed_px[0, 0] = 2 * FAST_PX
    values = score(footage, Context()).values
    assert values["motion_px"] < FAST_PX
    assert values["dynamic"] is True


@pytest.mark.parametrize(("speed_px", "static"), [(0.0039, True), (0.0041, False)])
def test_a_clip_stands_that_moves_less_than_a_twentieth_percent_of_its_side(speed_px, static):
    values = at_speeds(speed_px)
    assert values["static_video"] is static
    assert values["motion_pct"] == pytest.approx(100 * speed_px / 8)


def test_the_method_of_the_flow_is_told_with_the_size_that_it_ran_at():
    assert at_speeds(1.0)["flow_method"] == "lucas-kanade, zero-mean windows of 20 px at 8 px"


def test_without_trusted_flow_no_speed_is_made_up():
    scores = score(uncover(made_up(2), 0), Context())
    empty = ("motion_px", "motion_pct", "motion_top5_px", "dynamic", "static_video")
    assert [scores.values[name] for name in empty] == [None] * 5
    assert scores.notes == ["1 of 1 pairs have no flow that can be trusted"]


def test_one_frame_does_not_move():
    scores = score(made_up(1), Context())
    assert scores.values == {column.name: None for column in COLUMNS}
    assert (scores.series, scores.notes) == ({}, ["one frame: there is no motion to measure"])
