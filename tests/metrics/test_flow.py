"""Flow, warps and where to trust them: each step against NumPy and SciPy, and pictures that move as a whole."""

import numpy as np
import pytest
import torch
from clips import Surface
from scipy import ndimage

from svdsweep.metrics.shared import flow

NOISE = np.random.default_rng(0).random((9, 14)).astype(np.float32)


def tensor(array):
    return torch.tensor(np.asarray(array), dtype=torch.float32)[None, None]


def constant(x_px, y_px, height=9, width=14):
    """A flow (1, 2, H, W) that is the same everywhere."""
    return torch.tensor([x_px, y_px])[None, :, None, None].expand(1, 2, height, width)


@pytest.mark.parametrize(("x_px", "y_px"), [(2.0, 0.0), (0.0, -1.0), (0.5, 0.25), (-3.5, 20.0)])
@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
def test_a_warp_looks_up_where_the_flow_points_and_goes_on_with_the_border(x_px, y_px, mode, order):
    if mode == "nearest":
        x_px, y_px = x_px + 0.1, y_px + 0.1  # no half pixel that rounds either way
    y, x = np.mgrid[:9, :14]
    truth = ndimage.map_coordinates(NOISE, [y + y_px, x + x_px], order=order, mode="nearest")
    warped = flow.warp(tensor(NOISE), constant(x_px, y_px), mode)[0, 0]
    assert warped.numpy() == pytest.approx(truth, abs=1e-5)
    if mode == "bilinear":
        assert flow.warp(tensor(NOISE), constant(x_px, y_px))[0, 0].equal(warped)


def test_a_warp_of_a_single_column_stays_finite():
    column = tensor(NOISE[:, :1])
    assert flow.warp(column, constant(0.0, 0.0, 9, 1)).equal(column)
    row = tensor(NOISE[:1])
    assert flow.warp(row, constant(0.0, 0.0, 1, 14)).numpy() == pytest.approx(row.numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("forward", "backward", "holds"),
    [
        ((3.0, 0.0), (-3.0, 0.0), True),
        ((3.0, 0.0), (-2.21, 0.0), True),  # 0.79² < 0.01 (3² + 2.21²) + 0.5 = 0.639
        ((3.0, 0.0), (-2.2, 0.0), False),  # 0.8² > 0.638
        ((0.0, 3.0), (0.0, -2.21), True),
        ((0.0, 3.0), (0.0, -2.2), False),
        ((2.0, 3.0), (-1.5, -2.45), True),  # 0.5² + 0.55² < 0.01 (13 + 8.25) + 0.5 = 0.713
        ((2.0, 3.0), (-1.4, -2.35), False),
        ((3.0, 0.0), (3.0, 0.0), False),
    ],
)
def test_flow_is_trusted_where_there_and_back_agree(forward, backward, holds):
    seen = flow.trusted(constant(*forward), constant(*backward))
    assert seen.shape == (1, 9, 14)
    assert seen[0, 4, 7].item() is holds


@pytest.mark.parametrize(
    ("x_px", "y_px", "rows", "columns"),
    [
        (2.0, 0.0, slice(0, 9), slice(0, 12)),
        (-2.0, 3.0, slice(0, 6), slice(2, 14)),
        (0.5, -0.5, slice(0, 9), slice(0, 14)),
        (-0.5, 0.5, slice(0, 9), slice(0, 14)),
        (0.51, -0.51, slice(1, 9), slice(0, 13)),
        (-0.51, 0.51, slice(0, 8), slice(1, 14)),
    ],
)
def test_flow_that_leaves_the_picture_by_more_than_half_a_pixel_is_not_trusted(x_px, y_px, rows, columns):
    inside = np.zeros((9, 14), bool)
    inside[rows, columns] = True
    assert flow.trusted(constant(x_px, y_px), constant(-x_px, -y_px))[0].numpy().tolist() == inside.tolist()


def test_flow_back_is_looked_up_where_the_flow_there_ends():
    there, back = constant(4.0, 0.0).clone(), constant(9.0, 9.0).clone()
    back[..., 5] = constant(-4.0, 0.0)[..., 5]
    assert flow.trusted(there, back)[0].any(0).tolist() == [t == 1 for t in range(14)]


@pytest.mark.parametrize("height", [8, 9])
def test_the_pyramid_halves_by_every_second_pixel_of_a_binomial_blur(height):
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    truth = ndimage.correlate(NOISE[:height], kernel, mode="mirror")[::2, ::2]
    assert flow._halved(tensor(NOISE[:height]))[0, 0].numpy() == pytest.approx(truth, abs=1e-6)


def test_gradients_are_half_the_difference_of_the_neighbours():
    gx, gy = flow._gradients(tensor(NOISE))
    for gradient, axis in ((gx, 1), (gy, 0)):
        truth = ndimage.correlate1d(NOISE, [-0.5, 0, 0.5], axis, mode="nearest")
        assert gradient[0, 0].numpy() == pytest.approx(truth, abs=1e-6)


def test_windows_are_means_of_five_by_five_blocks_of_four_pixels_inside_the_picture():
    blocks = np.array([[NOISE[y : y + 4, x : x + 4].mean() for x in range(0, 14, 4)] for y in (0, 4, 8)])
    assert flow._block_means(tensor(NOISE))[0, 0].numpy() == pytest.approx(blocks, abs=1e-6)
    near = lambda i, n: slice(max(0, i - 2), min(n, i + 3))  # noqa: E731
    truth = [[blocks[near(y, 3), near(x, 4)].mean() for x in range(4)] for y in range(3)]
    assert flow._window_means(tensor(NOISE))[0, 0].numpy() == pytest.approx(np.array(truth), abs=1e-6)


def test_blocks_are_spread_linearly_between_their_centres():
    ramp = np.arange(4.0) + 10 * np.arange(3.0)[:, None]
    y, x = np.mgrid[:9, :14]
    truth = ((x + 0.5) / 4 - 0.5).clip(0) + 10 * ((y + 0.5) / 4 - 0.5).clip(0)
    assert flow._spread(tensor(ramp), 9, 14)[0, 0].numpy() == pytest.approx(truth, abs=1e-5)


def box(blocks):
    """Sum over five by five blocks, and how many of them lie inside the picture."""
    ones = np.ones((5, 5))
    return (ndimage.convolve(x, ones, mode="constant") for x in (blocks, np.ones_like(blocks)))


def window_mean(x):
    blocks = x.reshape(x.shape[0] // 4, 4, x.shape[1] // 4, 4).mean((1, 3))
    total, count = box(blocks)
    return total / count


@pytest.mark.parametrize("start_px", [None, (1.0, -0.5)], ids=["from rest", "from a coarser flow"])
def test_a_step_solves_the_damped_least_squares_of_each_window(monkeypatch, start_px):
    """Covariances of the gradients among themselves and with the change, as NumPy has them; at most 1.5 px a step."""
    monkeypatch.setattr(flow, "ITERATIONS", 1)
    rng = np.random.default_rng(3)
    a, b = (ndimage.gaussian_filter(contrast * rng.random((24, 32)), 1.0) for contrast in (1, 4))
    coarser, rest, later = None, np.zeros((6, 8, 2)), b
    if start_px:  # a flow that grows evenly, from 12 × 16 px to 24 × 32, corner to corner
        ramps = [
            1 + np.add.outer(np.linspace(0, 1, h), np.linspace(0, 2, w)) for h, w in ((12, 16), (24, 32))
        ]
        coarser = constant(*start_px, 12, 16) * tensor(ramps[0])
        blocks = ramps[1].reshape(6, 4, 8, 4).mean((1, 3))
        rest = np.stack([blocks * start_px[0] * 31 / 15, blocks * start_px[1] * 23 / 11], 2)
        there = flow._spread(torch.tensor(rest).float().permute(2, 0, 1)[None], 24, 32)
        later = flow.warp(tensor(b), there)[0, 0].double().numpy()
    g = [ndimage.correlate1d(a, [-0.5, 0, 0.5], axis, mode="nearest") for axis in (1, 0)]

    def covariance(p, q):
        return window_mean(p * q) - window_mean(p) * window_mean(q)

    matrix = np.array([[covariance(p, q) for q in g] for p in g]).transpose(2, 3, 0, 1)
    damping = 1e-3 * np.trace(matrix, axis1=2, axis2=3).mean() + 1e-8
    change = np.array([covariance(p, later - a) for p in g]).transpose(1, 2, 0)
    step = np.linalg.solve(matrix + damping * np.eye(2), -change[..., None])[..., 0]
    assert (np.abs(step) > 1.5).any()
    total, count = zip(*(box(x) for x in np.moveaxis(rest + step.clip(-1.5, 1.5), 2, 0)), strict=True)
    truth = flow._spread(torch.tensor(np.array(total) / count, dtype=torch.float32)[None], 24, 32)
    found = flow._refine(tensor(a), tensor(b), coarser)
    assert found.numpy() == pytest.approx(truth.numpy(), abs=1e-3)


def lumas(x_px, y_px, size=(62, 95)):
    surface = Surface("textured", size)
    return (
        tensor(surface.frame(dx=dx, dy=dy) @ [0.299, 0.587, 0.114] / 255) for dx, dy in ((0, 0), (x_px, y_px))
    )


@pytest.mark.parametrize(
    ("x_px", "y_px", "within_px"),
    [(0.0, 0.0, 1e-4), (0.1, 0.05, 0.005), (1.5, -0.75, 0.015), (-4.0, 2.0, 0.01), (-3.0, 5.0, 0.03)],
)
def test_a_picture_that_moves_as_a_whole_has_that_flow_on_half_of_it_and_more(x_px, y_px, within_px):
    found = flow.estimate(*lumas(x_px, y_px))
    assert found.shape == (1, 2, 62, 95)
    assert (found - constant(x_px, y_px, 62, 95)).abs().median() < within_px


def test_pairs_are_estimated_apart_from_one_another():
    (a, b), (c, d) = lumas(1.5, -0.75), (0.1 * y for y in lumas(-4.0, 2.0))
    together = flow.estimate(torch.cat([a, c]), torch.cat([b, d]))
    for one, pair in zip(together, ((a, b), (c, d)), strict=True):
        assert one.numpy() == pytest.approx(flow.estimate(*pair)[0].numpy(), abs=1e-3)


def test_a_change_of_brightness_is_no_motion():
    a, b = lumas(1.5, -0.75)
    assert flow.estimate(a, b + 0.1).numpy() == pytest.approx(flow.estimate(a, b).numpy(), abs=0.01)


def test_a_flat_picture_has_no_flow():
    assert flow.estimate(torch.full((1, 1, 24, 24), 0.5), torch.full((1, 1, 24, 24), 0.6)).abs().max() == 0


@pytest.mark.parametrize(("height", "width", "levels"), [(23, 99, 1), (24, 99, 2), (99, 45, 2), (48, 48, 3)])
def test_the_pyramid_ends_before_a_side_is_shorter_than_twelve(monkeypatch, height, width, levels):
    sizes = []
    monkeypatch.setattr(flow, "_refine", lambda a, b, coarser: sizes.append(tuple(b.shape[-2:])) or a)
    picture = torch.zeros(1, 1, height, width)
    flow.estimate(picture, picture)
    assert len(sizes) == levels
    assert sizes[-1] == (height, width)
