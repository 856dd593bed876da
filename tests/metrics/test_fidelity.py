"""The arithmetic of drift in colour and sharpness, against NumPy and scikit-image, with the warps given."""

import math

import numpy as np
import pytest
from by_hand import arrays, made_up, uncover
from skimage.color import rgb2lab

from svdsweep.metrics import Context
from svdsweep.metrics.fidelity import COLUMNS, score


def sharpness(frame):
    y = frame @ [0.299, 0.587, 0.114]
    return (y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4 * y[1:-1, 1:-1]).var()


@pytest.mark.parametrize(("count", "fifth"), [(2, 1), (9, 1), (10, 2)])
def test_sharpness_drifts_from_the_first_fifth_to_the_last(count, fifth):
    footage = made_up(count, 8, 8)
    footage.frames[count // 2 :] //= 2
    truth = [sharpness(frame) for frame in footage.frames]
    scores = score(footage, Context())
    assert scores.series == {"sharpness": pytest.approx(truth, rel=1e-4)}
    assert scores.values["sharpness_mean"] == pytest.approx(np.mean(truth), rel=1e-4)
    ratio = np.mean(truth[-fifth:]) / np.mean(truth[:fifth])
    assert scores.values["sharpness_drift_db"] == pytest.approx(10 * math.log10(ratio), abs=1e-3)


def test_a_flat_frame_that_stays_flat_does_not_drift_in_sharpness():
    footage = made_up(2)
    footage.frames[:] = 128
    assert score(footage, Context()).values["sharpness_drift_db"] == pytest.approx(0, abs=0.01)
    footage = made_up(2)
    footage.frames[:] = 128
    footage.frames[1, 5, 5] = 138
    assert score(footage, Context()).values["sharpness_drift_db"] == pytest.approx(
        10 * math.log10(1 + sharpness(footage.frames[1]) / 1e-3), abs=1e-3
    )


def colour_drift(footage, pairs, step):
    frames, _, ahead, _, seen, _ = arrays(footage)
    total = np.zeros(3)
    for t in pairs:
        here, then = (rgb2lab(x[:, ::step, ::step].transpose(1, 2, 0)) for x in (frames[t], ahead[t]))
        total += (then - here)[seen[t, ::step, ::step]].mean(0)
    return pytest.approx(float(np.linalg.norm(total)), rel=1e-3)


def test_colour_drifts_by_the_sum_of_the_changes_of_lab_where_the_flow_holds():
    footage = uncover(made_up(4), 1)
    assert score(footage, Context()).values["color_drift_de"] == colour_drift(footage, (0, 2), 1)


@pytest.mark.parametrize(("height", "step"), [(287, 1), (288, 2)])
def test_of_a_large_picture_every_second_point_is_enough(height, step):
    footage = made_up(2, height, 300)
    assert score(footage, Context()).values["color_drift_de"] == colour_drift(footage, (0,), step)


def test_a_pair_whose_flow_holds_at_a_single_point_counts_by_it_and_at_none_not_at_all():
    footage = made_up(2, 288, 288)
    footage.masks[0][0] = True
    footage.masks[0][0, ::2, ::2] = False
    assert score(footage, Context()).values["color_drift_de"] == 0
    footage.masks[0][0, 6, 8] = True
    assert score(footage, Context()).values["color_drift_de"] == colour_drift(footage, (0,), 2)


def test_without_trusted_flow_no_drift_of_colour_is_made_up():
    assert score(uncover(made_up(2), 0), Context()).values["color_drift_de"] is None


def test_one_frame_has_a_sharpness_and_its_likeness_to_the_image():
    footage = made_up(1)
    alone = score(footage, Context())
    assert [name for name, value in alone.values.items() if value is not None] == ["sharpness_mean"]
    assert set(alone.values) == {column.name for column in COLUMNS}
    assert alone.notes == ["no conditioning image: likeness to it is empty"]
    beside = score(footage, Context(image=footage.frames[0]))
    assert (beside.values["first_psnr_db"], beside.values["image_psnr_drift_db"]) == (100, None)
    assert beside.notes == []


def test_likeness_to_the_image_drifts_from_the_first_frame_to_the_last_fifth():
    footage = made_up(10)
    image = footage.frames[0] // 2
    psnr = [-10 * math.log10(np.square((f - image.astype(float)) / 255).mean()) for f in footage.frames]
    scores = score(footage, Context(image=image))
    assert scores.series["image_psnr_db"] == pytest.approx(psnr)
    assert scores.values["image_psnr_drift_db"] == pytest.approx((psnr[8] + psnr[9]) / 2 - psnr[0], abs=1e-4)
    ssim = scores.series["image_ssim"]
    assert scores.values["first_ssim"] == ssim[0]
    assert scores.values["image_ssim_drift"] == pytest.approx((ssim[8] + ssim[9]) / 2 - ssim[0])
