"""ST-LPIPS and ColorVideoVDP against clips of known truth; without their packages they are refused by name."""

import importlib.util
import warnings
from dataclasses import replace

import numpy as np
import pytest
from by_hand import made_up
from clips import Surface, noise, path, shimmer, static

from svdsweep import cli, metrics
from svdsweep.errors import UserError
from svdsweep.metrics import Context, score

HERE = Surface("textured")
STILL = static(HERE, 3)
GROWING = (1, 2, 4, 8, 16)
"""Deviation of noise, in levels."""


@pytest.fixture(scope="module", params=["stlpips", "cvvdp"])
def family(request):
    pytest.importorskip(metrics.PACKAGES[request.param])
    return request.param


@pytest.fixture
def stlpips():
    pytest.importorskip("stlpips_pytorch")


@pytest.fixture
def cvvdp():
    pytest.importorskip("pycvvdp")


def values(frames, reference=STILL.frames, family="stlpips", fps=7):
    return score(frames, Context(reference=reference, fps=fps), [family]).values


def distance(family, frames):
    """How far frames are from `STILL`: ST-LPIPS, or JOD below 10."""
    found = values(frames, family=family)
    return found["stlpips_to_baseline"] if family == "stlpips" else 10 - found["cvvdp_to_baseline_jod"]


def test_identical_clips_have_no_distance(family):
    assert distance(family, STILL.frames) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("added", [noise, lambda clip, deviation: shimmer(clip, HERE, deviation)])
def test_more_noise_and_more_shimmer_are_further(family, added):
    distances = [distance(family, added(STILL, deviation).frames) for deviation in GROWING]
    assert distances == sorted(distances)
    assert distances[-1] > 10 * distances[0] > 0


def test_blur_is_further_the_more_it_is(family):
    blurred = [replace(STILL, levels=np.stack([HERE.frame(blur_px=px)] * 3)).frames for px in (0.5, 1.0, 2.0)]
    distances = [distance(family, frames) for frames in blurred]
    assert distances == sorted(distances)
    assert distances[0] > 0


FINE = Surface("fine")
SHIFT_AND_NOISE = path(FINE, [1.0]).frames, noise(static(FINE, 1), 16).frames
"""A picture moved by a pixel, and one with gross noise."""


def test_a_shift_by_a_pixel_is_less_than_the_noise_that_psnr_and_ssim_put_before_it(stlpips):
    context = Context(reference=static(FINE, 1).frames)
    shift, noisy = (score(frames, context, ["stlpips", "baseline"]).values for frames in SHIFT_AND_NOISE)
    assert shift["psnr_to_baseline_db"] < noisy["psnr_to_baseline_db"]
    assert shift["ssim_to_baseline"] < noisy["ssim_to_baseline"]
    assert 2 * shift["stlpips_to_baseline"] < noisy["stlpips_to_baseline"]


def test_a_shift_by_a_pixel_counts_less_than_to_lpips(stlpips):
    """To LPIPS as it is built: its AlexNet is left untrained, for the trained one is no part of any package. Of three
    such the least is 1.1; ST-LPIPS has 0.2 to 0.3."""
    import lpips
    import torch

    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        plain = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    still = static(FINE, 1).frames
    still_, *others = (torch.tensor(f).permute(0, 3, 1, 2).float() / 255 for f in (still, *SHIFT_AND_NOISE))
    with torch.inference_mode():
        shift, noisy = (float(plain(still_, other, normalize=True)) for other in others)
    mine, mine_noisy = (values(frames, still)["stlpips_to_baseline"] for frames in SHIFT_AND_NOISE)
    assert 2 * mine / mine_noisy < shift / noisy


def test_what_shakes_by_a_pixel_is_seen_by_a_viewer(cvvdp):
    """ColorVideoVDP compares pixel by pixel: the shift that ST-LPIPS forgives is none to it."""
    assert distance("cvvdp", path(HERE, [1.0] * 3).frames) > distance("cvvdp", noise(STILL, 4).frames)


def test_a_change_that_flickers_is_seen_more_than_the_same_that_stands(cvvdp):
    level = np.array([0.0, 12.0, 0.0, 12.0, 0.0, 12.0])[:, None, None, None]
    still = static(HERE, 6)
    standing, flickering = still.plus(np.full_like(level, 6.0)), still.plus(level)
    of = {
        name: values(clip.frames, still.frames, "cvvdp", fps=14)["cvvdp_to_baseline_jod"]
        for name, clip in (("standing", standing), ("flickering", flickering))
    }
    assert of["flickering"] < of["standing"]


def test_the_display_is_the_one_that_the_column_tells(cvvdp):
    import pycvvdp

    from svdsweep.metrics import cvvdp as ours

    geometry = pycvvdp.vvdp_display_geometry.load(ours.DISPLAY)
    assert geometry.get_ppd() == pytest.approx(75, abs=1)
    assert geometry.distance_m == pytest.approx(0.75, abs=0.01)


def test_distances_of_stlpips_are_those_of_the_package(stlpips):
    import torch
    from stlpips_pytorch import stlpips as package

    footage, other = made_up(3, 40, 48), made_up(3, 40, 48, seed=2).frames
    oracle = package.LPIPS(net="alex", variant="shift_tolerant", verbose=False)

    def of(a, b):
        one, two = (torch.tensor(f).permute(2, 0, 1)[None].float() / 255 for f in (a, b))
        with torch.no_grad():
            return float(oracle(one, two, normalize=True))

    scores = score(footage.frames, Context(reference=other), ["stlpips"])
    expected = [of(a, b) for a, b in zip(footage.frames, other, strict=True)]
    assert scores.series["stlpips_to_baseline"] == pytest.approx(expected, rel=1e-4)
    to_first = [of(footage.frames[0], f) for f in footage.frames[1:]]
    assert scores.values["stlpips_to_first"] == pytest.approx(np.mean(to_first), rel=1e-4)


def test_a_weight_that_is_not_the_files_gives_no_number(stlpips, monkeypatch):
    from stlpips_pytorch import stlpips as package

    monkeypatch.setattr(
        package.LPIPS.__init__, "__defaults__", (False, *package.LPIPS.__init__.__defaults__[1:])
    )
    with pytest.raises(ImportError, match="install stlpips-pytorch again"):
        values(STILL.frames)


def test_without_a_baseline_of_that_length_these_columns_are_empty_and_say_why(family):
    for reference in (None, STILL.frames[:2]):
        found = values(STILL.frames, reference, family)
        if family == "stlpips":
            assert (found["stlpips_to_baseline"], found["stlpips_to_first"]) == (None, 0)
        else:
            assert found["cvvdp_to_baseline_jod"] is None
            assert found["cvvdp_status"].startswith("unavailable: there is no baseline")


def test_what_cannot_be_judged_says_why(family):
    small = STILL.frames[:, :24, :24]
    if family == "stlpips":
        assert values(small, small)["stlpips_status"] == "unavailable: frames under 32 px"
    else:
        assert values(small, small, "cvvdp", fps=None)["cvvdp_status"].startswith(
            "unavailable: the frame rate"
        )


def test_neither_asks_the_network(family, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("metrics must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    distance(family, STILL.frames)


def test_a_missing_package_is_refused_with_the_extra_before_anything_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in metrics.PACKAGES:
        with pytest.raises(UserError, match=r'pip install "svdsweep\[perceptual\]"'):
            metrics.family(name)
    assert cli.main(["plan", "metrics=perceptual", f"runs_dir='{tmp_path}'", "--json"]) == 2
    assert 'pip install "svdsweep[perceptual]"' in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_has_both_for_a_strategy_and_its_baseline(stlpips, cvvdp, tmp_path, monkeypatch):
    from svdsweep.store.rows import Store

    monkeypatch.chdir(tmp_path)
    grid = [
        "memory=baseline,no_guidance",
        "num_frames=3",
        "num_inference_steps=1",
        "metrics=perceptual",
        "name=x",
    ]
    assert cli.main(grid) == 0
    by_name = {row.job.memory.name: row.values for row in Store(tmp_path / "runs" / "x").rows().values()}
    for column in ("stlpips_to_baseline", "cvvdp_to_baseline_jod"):
        assert by_name["baseline"][column] is None
    assert by_name["no_guidance"]["stlpips_to_baseline"] > 0
    assert by_name["no_guidance"]["cvvdp_to_baseline_jod"] < 10
