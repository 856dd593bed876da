"""Each metric gives the known value of clips whose truth is known, on smooth and textured pictures, small and large."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from clips import (
    LARGE,
    SMALL,
    Clip,
    Surface,
    black,
    blur_ramp,
    color_drift,
    cut,
    flicker,
    jitter,
    judder,
    level_seam,
    moving_object,
    noise,
    pan,
    seam,
    shimmer,
    static,
    zoom,
)

from svdsweep.metrics import Context, score, seams
from svdsweep.metrics.shared.footage import Footage
from svdsweep.store.measurements import Measurements

FAMILIES = ("temporal", "motion", "fidelity", "seams", "defects")
TEXTURES = ("smooth", "textured")


def judge(clip: Clip, *families: str) -> Measurements:
    frames = clip.frames
    context = Context(image=frames[0], decode_chunk_size=clip.chunk, nonfinite_values=0)
    return score(frames, context, families or FAMILIES)


@cache
def surface(texture: str, size: tuple[int, int] = SMALL) -> Surface:
    return Surface(texture, size)


def count(size: tuple[int, int]) -> int:
    return 9 if size == SMALL else 5


sizes = pytest.mark.parametrize(
    "size", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)], ids=["64x64", "576x1024"]
)
textures = pytest.mark.parametrize("texture", TEXTURES)


@sizes
@textures
def test_a_standing_picture_is_perfect_and_said_to_stand(texture, size):
    v = judge(static(surface(texture, size), count(size))).values
    assert v["adj_mae_255"] == 0
    assert v["adj_psnr_db"] == 100
    assert v["adj_ssim"] == pytest.approx(1, abs=1e-6)
    assert v["motion_px"] == pytest.approx(0, abs=0.02)
    assert v["mc_flicker_255"] == pytest.approx(0, abs=0.01)
    assert v["flow_accel_px"] == pytest.approx(0, abs=0.02)
    assert v["luma_flicker_255"] == 0
    assert v["color_drift_de"] == pytest.approx(0, abs=0.01)
    assert v["dup_frac"] == 1
    assert v["first_psnr_db"] == 100
    assert v["first_ssim"] == pytest.approx(1, abs=1e-6)
    assert v["flow_coverage"] == pytest.approx(1, abs=0.01)
    assert v["static_video"] is True
    assert v["dynamic"] is False
    assert v["seam_ratio"] is None


@sizes
@textures
@pytest.mark.parametrize("speed_px", [1, 2])
def test_a_pan_moves_at_its_speed_without_flicker(texture, size, speed_px):
    scale = min(size) // 64
    speed_px *= min(scale, 4)
    v = judge(pan(surface(texture, size), count(size), speed_px), "temporal", "motion", "fidelity").values
    assert v["motion_px"] == pytest.approx(speed_px, rel=0.02 if texture == "textured" else 0.05)
    assert v["motion_pct"] == pytest.approx(100 * v["motion_px"] / min(size))
    assert v["flow_accel_px"] < 0.1 * speed_px
    assert v["mc_flicker_255"] < 0.5
    assert v["warp_psnr_db"] > 47
    assert v["color_drift_de"] < 1.2
    assert v["dup_frac"] == 0
    assert v["static_video"] is False
    assert v["low_coverage_pairs"] == 0


@textures
def test_half_a_pixel_a_frame_is_seen(texture):
    v = judge(pan(surface(texture), 9, 0.5), "motion").values
    assert v["motion_px"] == pytest.approx(0.5, rel=0.05 if texture == "textured" else 0.15)


@sizes
def test_a_zoom_moves_as_far_as_it_should(size):
    clip = zoom(surface("textured", size), count(size), 0.02)
    assert judge(clip, "motion").values["motion_px"] == pytest.approx(clip.truth["motion_px"], rel=0.07)


@sizes
@textures
def test_a_moving_object_shows_in_the_fastest_part_only(texture, size):
    speed_px = 1.5 if size == SMALL else 6.0
    v = judge(moving_object(surface(texture, size), count(size), speed_px), "motion").values
    assert v["motion_top5_px"] == pytest.approx(speed_px, rel=0.25)
    assert v["motion_px"] < 0.5 * speed_px


@sizes
@textures
@pytest.mark.parametrize("amplitude", [2, 8])
def test_flicker_is_measured_in_levels(texture, size, amplitude):
    v = judge(flicker(static(surface(texture, size), count(size)), amplitude), "temporal", "motion").values
    assert v["luma_flicker_255"] == pytest.approx(amplitude, rel=0.01)
    assert v["mc_flicker_255"] == pytest.approx(amplitude, rel=0.03)
    assert v["adj_mae_255"] == pytest.approx(amplitude, rel=0.01)
    assert v["motion_px"] < 0.05, "a change of brightness is no motion"


@sizes
@textures
def test_flicker_is_seen_through_a_pan(texture, size):
    v = judge(flicker(pan(surface(texture, size), count(size), 1), 4), "temporal").values
    assert v["mc_flicker_255"] == pytest.approx(4, rel=0.05)
    assert v["luma_flicker_255"] == pytest.approx(4, rel=0.05)


@textures
@pytest.mark.parametrize("deviation", [2, 4])
def test_noise_has_the_difference_that_statistics_say(texture, deviation):
    v = judge(noise(static(surface(texture), 9), deviation), "temporal").values
    mean_size = math.sqrt(2 / math.pi)
    assert v["adj_mae_255"] == pytest.approx(mean_size * math.sqrt(2) * deviation, rel=0.02)
    assert v["mc_flicker_255"] == pytest.approx(mean_size * math.sqrt(1.5) * deviation, rel=0.05)
    assert v["luma_flicker_255"] < 0.15


def test_shimmer_is_the_same_with_and_without_a_pan():
    here = surface("textured")
    still = judge(shimmer(static(here, 9), here, 4), "temporal").values["mc_flicker_255"]
    moving = judge(shimmer(pan(here, 9, 1), here, 4), "temporal").values["mc_flicker_255"]
    assert moving == pytest.approx(still, rel=0.05)


@sizes
@textures
def test_judder_is_the_change_of_speed(texture, size):
    speed_px = 1.0 if size == SMALL else 4.0
    v = judge(judder(surface(texture, size), count(size), speed_px), "temporal", "motion", "seams").values
    assert v["flow_accel_px"] == pytest.approx(2 * speed_px, rel=0.05)
    assert v["motion_px"] == pytest.approx(speed_px, rel=0.1)
    assert v["dup_frac"] == 0.5


def test_jitter_is_the_change_of_speed():
    clip = jitter(surface("textured"), 9, 1.0, 0.5)
    assert judge(clip, "temporal").values["flow_accel_px"] == pytest.approx(
        clip.truth["flow_accel_px"], rel=0.1
    )


@textures
def test_a_cut_is_left_out_of_what_flow_says_and_told(texture):
    scores = judge(cut(surface(texture), 10), "temporal", "motion")
    assert scores.values["low_coverage_pairs"] == 1
    assert scores.series["warp_mse"].count(None) == 1
    assert scores.series["warp_mse"][4] is None
    assert scores.series["mc_flicker_255"][3:5] == [None, None]
    assert scores.values["mc_flicker_255"] < 0.6
    assert any("1 of 9 pairs" in note for note in scores.notes)


@sizes
@textures
@pytest.mark.parametrize("chunk", [4, 5])
def test_a_seam_is_found_at_the_right_chunk_only(texture, size, chunk):
    here = surface(texture, size)
    moving = pan(here, 14 if size == SMALL else 11, 1)
    clip = seam(moving, here, chunk, 4) if texture == "textured" else level_seam(moving, chunk, 4)
    footage = Footage(clip.frames)
    right, wrong = (seams.score(footage, Context(decode_chunk_size=n)).values for n in (chunk, chunk + 2))
    assert right["seam_ratio"] > 1.5
    assert right["seam_rank"] == 1
    assert right["seam_flagged"] is True
    assert wrong["seam_flagged"] is False


@pytest.mark.slow
def test_a_seam_that_drowns_a_smooth_picture_is_flagged_without_a_ratio():
    here = surface("smooth", LARGE)
    v = judge(seam(pan(here, 11, 1), here, 5, 4), "seams").values
    assert v["seam_flagged"] is True
    assert v["seam_ratio"] is None


@textures
def test_without_a_seam_none_is_flagged(texture):
    for clip in (pan(surface(texture), 14, 1), noise(pan(surface(texture), 14, 1), 2)):
        footage = Footage(clip.frames)
        for chunk in (4, 5, 6):
            v = seams.score(footage, Context(decode_chunk_size=chunk)).values
            assert v["seam_flagged"] is False
            assert v["seam_ratio"] == pytest.approx(1, abs=0.25)


@sizes
@textures
def test_colour_drift_is_the_distance_in_lab(texture, size):
    from skimage.color import rgb2lab

    clip = color_drift(static(surface(texture, size), count(size)), 20)
    first, last = (rgb2lab(clip.frames[i]).mean((0, 1)) for i in (0, -1))
    v = judge(clip, "fidelity").values
    assert v["color_drift_de"] == pytest.approx(float(np.linalg.norm(last - first)), rel=0.05)


def test_colour_drift_is_not_fooled_by_a_pan():
    from skimage.color import rgb2lab

    clip = pan(surface("smooth"), 14, 2)
    first, last = (rgb2lab(clip.frames[i]).mean((0, 1)) for i in (0, -1))
    assert judge(clip, "fidelity").values["color_drift_de"] < 0.5 * float(np.linalg.norm(last - first))


@sizes
def test_a_blur_ramp_loses_sharpness(size):
    last_px = 1.5 if size == SMALL else 3.0
    v = judge(
        blur_ramp(
            surface("textured" if size == SMALL else "fine", size), 10 if size == SMALL else 5, last_px
        ),
        "fidelity",
    ).values
    assert v["sharpness_drift_db"] < -2
    assert v["image_ssim_drift"] < 0


def test_broken_frames_are_counted():
    here = surface("textured")
    v = judge(black(here, 5), "defects", "motion").values
    assert (v["flat_frames"], v["black_frames"], v["saturated_frames"]) == (5, 5, 5)
    assert v["static_video"] is True
    mixed = static(here, 6).levels.copy()
    mixed[4] = replace(here, contrast=1.0).frame()
    mixed[1], mixed[2], mixed[3] = 90.0, 255.0, np.where(mixed[3] > 128, 255, 0)
    v = score(Clip(mixed).frames, Context(nonfinite_values=7), ["defects"]).values
    assert (v["flat_frames"], v["black_frames"], v["saturated_frames"]) == (3, 0, 2)
    assert v["nonfinite_values"] == 7


def test_real_parallax_is_measured():
    """Left and right view of a scene with known disparity (Middlebury 2014, in scikit-image)."""
    from skimage.data import stereo_motorcycle

    left, right, disparity = stereo_motorcycle()
    truth = float(disparity[np.isfinite(disparity) & (disparity > 0)].mean())
    v = score(np.stack([left, right]), Context(), ["motion"]).values
    assert v["motion_px"] == pytest.approx(truth, rel=0.1)


def test_values_are_in_the_ranges_that_the_catalogue_gives():
    from svdsweep.metrics import COLUMNS

    here = surface("textured")
    for clip in (static(here, 6), pan(here, 6, 1), noise(static(here, 6), 30), cut(here, 6), black(here, 6)):
        for name, value in judge(clip).values.items():
            column = COLUMNS[name]
            if isinstance(value, int | float):
                assert column.low is None or value >= column.low - 1e-6, name
                assert column.high is None or value <= column.high + 1e-6, name
