"""The arithmetic of consistency, against NumPy, with the flow and its masks given."""

import numpy as np
import pytest
from by_hand import arrays, made_up, uncover

from svdsweep.metrics import Context
from svdsweep.metrics.temporal import COLUMNS, score


@pytest.fixture
def footage():
    return uncover(made_up(6), 0)


@pytest.fixture
def scores(footage):
    return score(footage, Context())


def test_neighbours_differ_by_their_mean_and_mean_squared_difference(footage, scores):
    change = np.diff(footage.frames.astype(float), axis=0)
    truth = np.abs(change).mean((1, 2, 3))
    assert scores.series["adj_mae_255"] == pytest.approx(truth)
    assert scores.values["adj_mae_255"] == pytest.approx(truth.mean())
    assert scores.values["adj_psnr_db"] == pytest.approx(-10 * np.log10(np.square(change / 255).mean()))
    assert scores.values["dup_frac"] == 0
    assert scores.values["adj_ssim"] == pytest.approx(np.mean(scores.series["adj_ssim"]))
    assert len(scores.series["adj_ssim"]) == 5


def test_flicker_is_the_difference_from_the_mean_of_the_warped_neighbours_where_both_hold(footage, scores):
    frames, _, ahead, behind, seen_ahead, seen_behind = arrays(footage)
    truth = []
    for t in range(2, 5):
        off = np.abs(frames[t] - (behind[t - 1] + ahead[t]) / 2).mean(0)
        truth.append(255 * off[seen_behind[t - 1] & seen_ahead[t]].mean())
    assert scores.series["mc_flicker_255"] == [None, *(pytest.approx(v) for v in truth)]
    assert scores.values["mc_flicker_255"] == pytest.approx(np.mean(truth))


def test_acceleration_is_the_change_of_the_flow_where_both_pairs_hold(footage, scores):
    _, flow, _, _, seen, _ = arrays(footage)
    changes = np.hypot(*np.diff(flow, axis=0).swapaxes(0, 1))
    truth = [changes[t][seen[t] & seen[t + 1]].mean() for t in range(1, 4)]
    assert scores.series["flow_accel_px"] == [None, *(pytest.approx(v) for v in truth)]
    assert scores.values["flow_accel_px"] == pytest.approx(np.mean(truth))


def test_the_warp_error_is_the_mean_squared_difference_where_the_flow_holds(footage, scores):
    frames, _, ahead, _, seen, _ = arrays(footage)
    truth = [np.square(ahead[t] - frames[t]).mean(0)[seen[t]].mean() for t in range(1, 5)]
    assert scores.series["warp_mse"] == [None, *(pytest.approx(v) for v in truth)]
    assert scores.values["warp_mse"] == pytest.approx(np.mean(truth))
    assert scores.values["warp_psnr_db"] == pytest.approx(-10 * np.log10(np.mean(truth)))


def test_luma_flickers_by_half_the_second_difference_of_its_mean(footage, scores):
    level = footage.frames.mean((1, 2)) @ [0.299, 0.587, 0.114]
    assert scores.values["luma_flicker_255"] == pytest.approx(np.abs(np.diff(level, 2)).mean() / 2, rel=1e-3)


def test_the_same_frame_twice_differs_by_less_than_a_tenth_of_a_level():
    footage = made_up(4)
    footage.changes = [0.1, 0.0999, 30.0]
    assert score(footage, Context()).values["dup_frac"] == pytest.approx(1 / 3)


def test_one_frame_has_no_neighbours():
    scores = score(made_up(1), Context())
    assert scores.values == {column.name: None for column in COLUMNS}
    assert scores.series == {}
    assert scores.notes == ["one frame: there is nothing between frames to measure"]


def test_two_frames_have_no_flicker_and_three_have():
    empty = {"mc_flicker_255", "luma_flicker_255", "flow_accel_px"}
    two, three = (score(made_up(count), Context()) for count in (2, 3))
    assert {name for name, value in two.values.items() if value is None} == empty
    assert two.notes == ["two frames: flicker and acceleration need three"]
    assert None not in three.values.values()
    assert three.notes == []


def test_a_clip_whose_flow_holds_nowhere_says_so():
    scores = score(uncover(uncover(made_up(3), 0), 1), Context())
    assert scores.notes == ["no pair has a flow that can be trusted: motion-compensated columns are empty"]
    assert (
        scores.values["warp_mse"] is scores.values["warp_psnr_db"] is scores.values["mc_flicker_255"] is None
    )
    assert scores.values["luma_flicker_255"] > 0
