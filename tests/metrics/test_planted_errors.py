"""The known-answer tests can fail: each planted error makes at least one of them do so."""

import statistics
from functools import cached_property

import numpy as np
import pytest
import test_ground_truth as truth
import test_likeness as likeness
import test_orderings as orderings
from clips import SMALL

from svdsweep.metrics import baseline, defects, fidelity, seams, temporal
from svdsweep.metrics.contract import psnr_db
from svdsweep.metrics.shared import flow, footage
from svdsweep.metrics.shared.footage import as_tensor


def detects(check, *arguments):
    with pytest.raises(AssertionError):
        check(*arguments)


def plant_property(monkeypatch, name, wrong):
    """Replace a cached property of Footage by `wrong(original value)`."""
    original = getattr(footage.Footage, name)
    planted = cached_property(lambda self: wrong(original.func(self)))
    planted.__set_name__(footage.Footage, name)
    monkeypatch.setattr(footage.Footage, name, planted)


def test_warped_frames_shifted_by_one(monkeypatch):
    plant_property(monkeypatch, "warps", lambda both: (both[0].roll(1, 0), both[1]))
    detects(truth.test_a_pan_moves_at_its_speed_without_flicker, "textured", SMALL, 1)


def test_only_the_backward_warps_shifted_by_one(monkeypatch):
    plant_property(monkeypatch, "warps", lambda both: (both[0], both[1].roll(1, 0)))
    detects(truth.test_a_pan_moves_at_its_speed_without_flicker, "textured", SMALL, 1)


def test_flow_there_and_back_swapped(monkeypatch):
    plant_property(monkeypatch, "flows", lambda both: (both[1], both[0]))
    detects(truth.test_a_pan_moves_at_its_speed_without_flicker, "textured", SMALL, 2)


def test_flow_left_in_pixels_of_the_small_clip(monkeypatch):
    plant_property(monkeypatch, "px_per_small_px", lambda scale: scale * 0 + 1)
    detects(truth.test_real_parallax_is_measured)


def test_channels_in_the_wrong_order(monkeypatch):
    right = footage.as_tensor
    for module in (footage, fidelity, baseline):
        if hasattr(module, "as_tensor"):
            monkeypatch.setattr(module, "as_tensor", lambda f, d: right(f, d).flip(1))
    detects(truth.test_colour_drift_is_the_distance_in_lab, "textured", SMALL)
    detects(truth.test_sharpness_is_the_variance_of_the_laplacian)


def test_values_in_0_to_255_where_0_to_1_is_meant(monkeypatch):
    right = footage.as_tensor
    monkeypatch.setattr(footage, "as_tensor", lambda f, d: right(f, d) * 255)
    detects(truth.test_flicker_is_measured_in_levels, "textured", SMALL, 2)
    detects(truth.test_sharpness_is_the_variance_of_the_laplacian)
    detects(truth.test_broken_frames_are_counted)
    detects(likeness.test_neighbours_have_the_ssim_of_scikit_image)


def test_the_border_of_chunks_off_by_one(monkeypatch):
    for off in (0, 2):
        monkeypatch.setattr(
            seams, "borders", lambda n, k, phase=0, off=off: [t for t in range(n) if (t + off) % k == phase]
        )
        detects(truth.test_a_seam_is_found_at_the_right_chunk_only, "textured", SMALL, 5)


def test_a_lower_median_of_the_neighbours(monkeypatch):
    from test_seams import test_the_ratio_is_the_change_over_the_median_of_its_neighbours as check

    monkeypatch.setattr(seams.statistics, "median", statistics.median_low)
    detects(check)


def test_flow_taken_with_the_wrong_sign(monkeypatch):
    right = flow.warp
    monkeypatch.setattr(flow, "warp", lambda x, f, mode="bilinear": right(x, -f, mode))
    detects(truth.test_a_pan_moves_at_its_speed_without_flicker, "textured", SMALL, 1)


def test_windows_that_keep_their_mean(monkeypatch):
    """Plain Lucas-Kanade takes a strobe for motion: the mean of the window's differences must go."""
    right = flow._window_means

    def without_the_mean_of_the_change(x):
        means = right(x)
        if x.shape[1] == 3:
            means[:, 2] = 0
        return means

    monkeypatch.setattr(flow, "_window_means", without_the_mean_of_the_change)
    detects(truth.test_flicker_is_measured_in_levels, "textured", SMALL, 8)


def test_everything_trusted(monkeypatch):
    plant_property(monkeypatch, "masks", lambda both: tuple(m | True for m in both))
    detects(truth.test_a_cut_is_left_out_of_what_flow_says_and_told, "textured")


def test_psnr_as_the_mean_over_pairs(monkeypatch):
    right = temporal._neighbours

    def wrong(clip):
        squares, ssim = right(clip)
        mean_db = statistics.fmean(psnr_db(s) for s in squares)
        return [10 ** (-mean_db / 10)] * len(squares), ssim

    monkeypatch.setattr(temporal, "_neighbours", wrong)
    orderings.values.cache_clear()
    detects(orderings.test_a_cut_is_no_better_than_a_pan)
    orderings.values.cache_clear()


def test_the_image_compared_with_the_second_frame(monkeypatch):
    monkeypatch.setattr(
        footage.Footage,
        "pictures",
        lambda self: (as_tensor(frame[None], self.device) for frame in np.roll(self.frames, -1, axis=0)),
    )
    detects(likeness.test_the_first_frame_is_compared_with_the_image)


def test_the_baseline_off_by_a_frame(monkeypatch):
    right = baseline.score

    def wrong(clip, context):
        import dataclasses

        import numpy as np

        return right(clip, dataclasses.replace(context, reference=np.roll(context.reference, 1, 0)))

    monkeypatch.setattr(baseline, "score", wrong)
    detects(likeness.test_equal_frames_are_equal_to_the_baseline)


def test_contrast_in_0_to_1(monkeypatch):
    monkeypatch.setattr(defects, "FLAT_255", 2.0 * 255)
    detects(truth.test_broken_frames_are_counted)
