"""PSNR, SSIM and the comparison with a baseline, against scikit-image and by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from clips import Surface, noise, pan, static
from scipy.ndimage import correlate
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from svdsweep.metrics import Context, score
from svdsweep.metrics.shared.likeness import (
    LINES_AT_ONCE,
    Windowed,
    as_tensor,
    lab,
    laplacian_variance,
    likenesses,
    luma,
    similarity,
)

HERE = Surface("textured")


def oracle(a, b):
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )


def test_neighbours_have_the_ssim_of_scikit_image():
    frames = noise(pan(HERE, 4, 1.5), 6).frames
    scores = score(frames, Context(), ["temporal"])
    truth = [oracle(a, b) for a, b in pairwise(frames)]
    assert scores.series["adj_ssim"] == pytest.approx(truth, abs=1e-5)
    assert scores.values["adj_ssim"] == pytest.approx(np.mean(truth), abs=1e-5)


def test_neighbours_have_the_pooled_psnr_of_scikit_image():
    frames = noise(pan(HERE, 4, 1.5), 6).frames
    truth = peak_signal_noise_ratio(frames[:-1], frames[1:], data_range=255)
    assert score(frames, Context(), ["temporal"]).values["adj_psnr_db"] == pytest.approx(truth, abs=1e-3)


def test_the_first_frame_is_compared_with_the_image():
    frames = pan(HERE, 6, 1.0).frames
    image = noise(static(HERE, 1), 5).frames[0]
    scores = score(frames, Context(image=image), ["fidelity"])
    truth = [peak_signal_noise_ratio(image, f, data_range=255) for f in frames]
    assert scores.values["first_psnr_db"] == pytest.approx(truth[0], abs=1e-3)
    assert scores.values["first_ssim"] == pytest.approx(oracle(image, frames[0]), abs=1e-5)
    assert scores.series["image_psnr_db"] == pytest.approx(truth, abs=1e-3)
    assert scores.series["image_ssim"] == pytest.approx([oracle(image, f) for f in frames], abs=1e-5)
    assert scores.values["image_psnr_drift_db"] == pytest.approx(truth[-1] - truth[0], abs=1e-3)


def test_an_image_with_red_and_blue_swapped_is_another_image():
    frames = static(HERE, 2).frames
    swapped = np.ascontiguousarray(frames[0][..., ::-1])
    assert score(frames, Context(image=swapped), ["fidelity"]).values["first_psnr_db"] < 40


def test_equal_frames_are_equal_to_the_baseline():
    frames = pan(HERE, 4, 1).frames
    v = score(frames, Context(reference=frames.copy()), ["baseline"]).values
    assert v["bit_equal_to_baseline"] is True
    assert v["max_abs_diff_to_baseline"] == 0
    assert v["psnr_to_baseline_db"] == 100
    assert v["ssim_to_baseline"] == pytest.approx(1, abs=1e-6)


def test_one_level_from_the_baseline_is_48_decibels():
    frames = pan(HERE, 4, 1).frames
    v = score(frames + np.uint8(1), Context(reference=frames), ["baseline"]).values
    assert v["bit_equal_to_baseline"] is False
    assert v["max_abs_diff_to_baseline"] == 1
    assert v["psnr_to_baseline_db"] == pytest.approx(48.1308, abs=1e-3)


def test_one_value_of_one_frame_is_not_equal():
    frames = pan(HERE, 4, 1).frames
    other = frames.copy()
    other[3, 10, 10, 1] ^= 1
    scores = score(other, Context(reference=frames), ["baseline"])
    assert scores.values["bit_equal_to_baseline"] is False
    assert scores.series["psnr_to_baseline_db"][:3] == [100, 100, 100]
    assert scores.series["psnr_to_baseline_db"][3] < 100


def test_without_a_baseline_nothing_is_said_of_it():
    assert score(pan(HERE, 3, 1).frames, Context(), ["baseline"]).values == {}


def test_a_baseline_of_another_length_is_not_compared():
    frames = pan(HERE, 4, 1).frames
    scores = score(frames, Context(reference=frames[:3]), ["baseline"])
    assert (scores.values, scores.series) == ({}, {})
    assert scores.notes == ["the baseline has another number of frames: not compared"]


def test_the_baseline_is_compared_frame_by_frame_whichever_is_brighter():
    frames = noise(pan(HERE, 3, 1.5), 6).frames
    reference = frames.copy()
    reference[0] = noise(static(HERE, 1), 5).frames[0]
    reference[1, 0, 0], frames[1, 0, 0] = (220, 9, 9), (9, 20, 9)
    scores = score(frames, Context(reference=reference), ["baseline"])
    for family, truth in (
        (
            "psnr_to_baseline_db",
            [peak_signal_noise_ratio(b, a) for a, b in zip(frames[:2], reference, strict=False)],
        ),
        ("ssim_to_baseline", [oracle(a, b) for a, b in zip(frames[:2], reference, strict=False)]),
    ):
        assert scores.series[family][:2] == pytest.approx(truth, abs=1e-3)
    assert scores.series["psnr_to_baseline_db"][2] == 100
    assert scores.values["max_abs_diff_to_baseline"] == 211
    assert scores.values["psnr_to_baseline_db"] == pytest.approx(
        peak_signal_noise_ratio(reference, frames), abs=1e-3
    )
    assert scores.values["ssim_to_baseline"] == pytest.approx(np.mean(scores.series["ssim_to_baseline"]))


@pytest.mark.parametrize(("side", "known"), [(10, False), (11, True)])
def test_ssim_needs_a_whole_window(side, known):
    frames = np.random.default_rng(0).integers(0, 256, (2, side, 32, 3), dtype=np.uint8)
    for turned in (frames, frames.swapaxes(1, 2)):
        found = likenesses(turned, {"before": None}, torch.device("cpu"))["before"]
        assert (found.ssim == [None]) is not known
        assert found.mse == pytest.approx([np.square(np.diff(frames / 255, axis=0)).mean()])
    mean = Windowed(as_tensor(frames[:1], torch.device("cpu"))).mean
    assert mean.shape == ((1, 3, 1, 22) if known else (1, 3, 0, 0))


@pytest.mark.parametrize(
    "height", [LINES_AT_ONCE, LINES_AT_ONCE + 1, LINES_AT_ONCE + 12, 2 * LINES_AT_ONCE + 7]
)
def test_a_picture_that_is_compared_in_strips_is_compared_as_a_whole(height):
    first, *rest = frames = np.random.default_rng(height).integers(0, 256, (3, height, 16, 3), dtype=np.uint8)
    frames[1] = first
    frames[2, -1, -1, -1] ^= 255  # the last value of all is seen, too
    others = {"before": None, "image": frames[1:2], "baseline": frames[::-1].copy()}
    found = likenesses(frames, others, torch.device("cpu"))
    pairs = {"before": [*pairwise(frames)], "image": [(f, first) for f in frames]}
    for name, of in {**pairs, "baseline": [(frames[0], rest[1]), (first, first), (rest[1], first)]}.items():
        assert found[name].ssim == pytest.approx([oracle(*pair) for pair in of], abs=1e-5)
        gaps = [np.abs(a.astype(float) - b) for a, b in of]
        assert found[name].mse == pytest.approx([np.square(gap / 255).mean() for gap in gaps], rel=1e-5)
        assert found[name].largest_255 == [gap.max() for gap in gaps]


def test_ssim_of_dark_and_faint_pictures_is_that_of_scikit_image():
    """Where the constants of the formula weigh most."""
    frames = np.random.default_rng(0).integers(0, [[[[3]]], [[[6]]]], (2, 16, 24, 3), dtype=np.uint8)
    a, b = (Windowed(as_tensor(frame[None], torch.device("cpu"))) for frame in frames)
    assert float(similarity(a, b).mean()) == pytest.approx(oracle(*frames), abs=1e-5)


def test_luma_weighs_the_colours_by_bt_601():
    pure = torch.eye(3).view(3, 3, 1, 1)
    assert luma(pure).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert luma(pure).shape == (3, 1, 1, 1)


def test_sharpness_is_the_variance_of_the_laplacian():
    y = np.random.default_rng(0).random((9, 14)).astype(np.float32)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    truth = correlate(255 * y.astype(float), kernel)[1:-1, 1:-1].var()
    assert float(laplacian_variance(255 * torch.from_numpy(y)[None, None])) == pytest.approx(truth, rel=1e-4)


def test_lab_is_that_of_scikit_image():
    colours = np.random.default_rng(0).random((16, 16, 3))
    colours[:4] /= 8  # both formulas have a straight part near black
    colours[:2] /= 4
    colours[0, 0] = 0
    mine = lab(torch.from_numpy(colours).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert mine.numpy() == pytest.approx(rgb2lab(colours), abs=1e-2)
