"""Which clip is better by which metric: what each sees, and what the catalogue says that it is blind to."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from clips import (
    Surface,
    black,
    blur_ramp,
    color_drift,
    cut,
    flicker,
    jitter,
    judder,
    morph,
    noise,
    pan,
    seam,
    shimmer,
    static,
)

from svdsweep.metrics import Context, score

HERE = Surface("textured")
COUNT = 10


@cache
def clip(name):
    still, moving = static(HERE, COUNT), pan(HERE, COUNT, 1)
    return {
        "static": lambda: still,
        "pan": lambda: moving,
        "fast pan": lambda: pan(HERE, COUNT, 2),
        "flicker 2": lambda: flicker(still, 2),
        "flicker 8": lambda: flicker(still, 8),
        "pan flicker 2": lambda: flicker(moving, 2),
        "noise 1": lambda: noise(still, 1),
        "noise 4": lambda: noise(still, 4),
        "shimmer 1": lambda: shimmer(still, HERE, 1),
        "shimmer 4": lambda: shimmer(still, HERE, 4),
        "judder": lambda: judder(HERE, COUNT, 1),
        "jitter": lambda: jitter(HERE, COUNT, 1, 1),
        "cut": lambda: cut(HERE, COUNT, 0),
        "morph": lambda: morph(HERE, COUNT),
        "seam": lambda: seam(moving, HERE, 5, 3),
        "red 5": lambda: color_drift(still, 5),
        "red 20": lambda: color_drift(still, 20),
        "blur 1": lambda: blur_ramp(HERE, COUNT, 1),
        "blur 3": lambda: blur_ramp(HERE, COUNT, 3),
        "black": lambda: black(HERE, COUNT),
    }[name]()


@cache
def values(name):
    frames = clip(name).frames
    families = ["temporal", "motion", "fidelity", "seams", "defects"]
    return score(frames, Context(image=frames[0], decode_chunk_size=5), families).values


def rising(column, *names):
    scores = [values(name)[column] for name in names]
    assert scores == sorted(scores), dict(zip(names, scores, strict=True))
    assert len(set(scores)) == len(scores), dict(zip(names, scores, strict=True))


@pytest.mark.parametrize(
    "names",
    [
        ("static", "pan", "noise 1", "flicker 2", "noise 4", "flicker 8"),
        ("pan", "shimmer 1", "shimmer 4"),
        ("fast pan", "pan flicker 2", "flicker 8"),
        ("pan", "seam"),
    ],
)
def test_compensated_flicker_ranks_flicker_and_not_motion(names):
    rising("mc_flicker_255", *names)


def test_plain_change_calls_a_clean_pan_worse_than_a_strobe():
    rising("adj_mae_255", "static", "flicker 2", "pan")
    rising("adj_psnr_db", "pan", "flicker 2", "static")
    rising("adj_ssim", "pan", "flicker 8", "static")


def test_a_cut_is_no_better_than_a_pan():
    rising("adj_psnr_db", "cut", "pan", "static")


def test_a_standing_clip_does_not_win_unseen():
    assert values("static")["static_video"] is True
    assert values("pan")["static_video"] is False
    rising("motion_px", "static", "pan", "fast pan")


def test_a_black_clip_is_perfect_by_consistency_and_caught_as_broken():
    assert values("black")["mc_flicker_255"] == 0
    assert values("black")["adj_psnr_db"] == 100
    assert values("black")["flat_frames"] == COUNT
    assert values("static")["flat_frames"] == 0


def test_judder_and_jitter_show_in_the_acceleration():
    rising("flow_accel_px", "static", "pan", "jitter", "judder")
    rising("dup_frac", "pan", "judder", "static")


def test_shake_of_the_camera_is_no_flicker():
    assert values("jitter")["mc_flicker_255"] < values("shimmer 1")["mc_flicker_255"]


def test_drift_of_colour_is_ranked_and_flicker_does_not_see_it():
    rising("color_drift_de", "pan", "red 5", "red 20")
    assert values("red 20")["mc_flicker_255"] < 0.4


def test_blur_improves_flicker_and_shows_in_sharpness():
    rising("sharpness_drift_db", "blur 3", "blur 1")
    assert values("blur 3")["sharpness_drift_db"] < -5
    noisy = noise(static(HERE, COUNT), 3)
    smooth = replace(
        noisy, levels=(noisy.levels + np.roll(noisy.levels, 1, 2) + np.roll(noisy.levels, 1, 1)) / 3
    )
    before, after = (
        score(c.frames, Context(), ["temporal"]).values["mc_flicker_255"] for c in (noisy, smooth)
    )
    assert after < 0.8 * before


def test_noise_is_taken_for_sharpness():
    rising("sharpness_mean", "static", "noise 1", "noise 4")


def test_a_morph_is_seen_by_drift_from_the_image_only():
    v = values("morph")
    assert v["mc_flicker_255"] < values("shimmer 1")["mc_flicker_255"]
    assert v["image_psnr_drift_db"] < -60
    assert v["image_ssim_drift"] < -0.3


def test_reversal_is_invisible():
    frames = clip("pan").frames
    there, back = (
        score(np.ascontiguousarray(f), Context(), ["temporal", "motion"]).values
        for f in (frames, frames[::-1])
    )
    for name in ("mc_flicker_255", "motion_px", "flow_accel_px", "adj_mae_255"):
        assert there[name] == pytest.approx(back[name], rel=0.1, abs=0.02)


def test_shuffled_frames_show_in_the_acceleration():
    frames = clip("pan").frames[np.random.default_rng(0).permutation(COUNT)]
    assert score(frames, Context(), ["temporal"]).values["flow_accel_px"] > 1
