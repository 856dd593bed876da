"""Optical flow without weights (pyramidal Lucas-Kanade, zero-mean windows), warps, and where to trust both."""

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE_PX = 4
"""Windows are made of blocks of this many pixels, one a block: as exact as one a pixel, at a fifth of the time."""
WINDOW_BLOCKS = 5
"""Fewer see the edges of moving things better; more are steadier under noise and on smooth pictures."""
ITERATIONS = 4
SMALLEST_PX = 12
"""The pyramid ends before a side gets shorter."""
STEP_PX = 1.5
"""Most that an iteration may move a window."""
DAMPING = 1e-3
NAME = f"lucas-kanade, zero-mean windows of {WINDOW_BLOCKS * STRIDE_PX} px"


def estimate(a: Tensor, b: Tensor) -> Tensor:
    """Flow (N, 2, H, W) in pixels, x before y, such that a(p) ≈ b(p + flow(p)), for luma (N, 1, H, W) in 0–1.

    Each window's mean is taken out of its gradients and differences (as DIS does; Kroeger et al. 2016), so a change
    of brightness is no motion."""
    pyramid = [(a, b)]
    while min(pyramid[-1][0].shape[-2:]) // 2 >= SMALLEST_PX:
        above, below = pyramid[-1]
        pyramid.append((_halved(above), _halved(below)))
    flow: Tensor | None = None
    for first, second in reversed(pyramid):
        flow = _refine(first, second, flow)
    assert flow is not None
    return flow


def warp(x: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """x(p + flow(p)) for pictures (N, C, H, W); beyond the border the border's colour."""
    gx, gy = _targets(flow)
    h, w = x.shape[-2:]
    grid = torch.stack([gx * (2 / max(w - 1, 1)) - 1, gy * (2 / max(h - 1, 1)) - 1], -1)
    return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=True)


def trusted(forward: Tensor, backward: Tensor) -> Tensor:
    """Where flow there and back agree and stay inside the picture: (N, H, W) bool, by the rule of Sundaram et al. 2010
    (|f + b|² ≤ 0.01 (|f|² + |b|²) + 0.5)."""
    back = warp(backward, forward)
    gap = (forward + back).square().sum(1)
    size = forward.square().sum(1) + back.square().sum(1)
    gx, gy = _targets(forward)
    h, w = forward.shape[-2:]
    inside = (gx >= -0.5) & (gx <= w - 0.5) & (gy >= -0.5) & (gy <= h - 0.5)
    return inside & (gap <= 0.01 * size + 0.5)


def _refine(a: Tensor, b: Tensor, coarser: Tensor | None) -> Tensor:
    """One level of the pyramid: Gauss-Newton steps of every window from the coarser level's flow."""
    h, w = a.shape[-2:]
    if coarser is None:
        blocks = a.new_zeros(a.shape[0], 2, -(-h // STRIDE_PX), -(-w // STRIDE_PX))
    else:
        ph, pw = coarser.shape[-2:]
        larger = F.interpolate(coarser, size=(h, w), mode="bilinear", align_corners=True)
        ratio = larger.new_tensor([(w - 1) / max(pw - 1, 1), (h - 1) / max(ph - 1, 1)])
        blocks = _block_means(larger * ratio[:, None, None])
    gx, gy = _gradients(a)
    mx, my, axx, axy, ayy = _window_means(torch.cat([gx, gy, gx * gx, gx * gy, gy * gy], 1)).chunk(5, 1)
    axx, axy, ayy = axx - mx * mx, axy - mx * my, ayy - my * my
    damping = DAMPING * (axx + ayy).mean((2, 3), keepdim=True) + 1e-8
    axx, ayy = axx + damping, ayy + damping
    determinant = axx * ayy - axy * axy
    for _ in range(ITERATIONS):
        change = warp(b, _spread(blocks, h, w)) - a
        bx, by, mean = _window_means(torch.cat([gx * change, gy * change, change], 1)).chunk(3, 1)
        bx, by = bx - mx * mean, by - my * mean
        step = torch.cat([axy * by - ayy * bx, axy * bx - axx * by], 1) / determinant
        blocks = blocks + step.clamp_(-STEP_PX, STEP_PX)
    return _spread(_neighbour_means(blocks), h, w)


def _targets(flow: Tensor) -> tuple[Tensor, Tensor]:
    h, w = flow.shape[-2:]
    x = torch.arange(w, device=flow.device, dtype=flow.dtype)
    y = torch.arange(h, device=flow.device, dtype=flow.dtype)[:, None]
    return x + flow[:, 0], y + flow[:, 1]


def _halved(x: Tensor) -> Tensor:
    """Half the size after a binomial blur; pixel i of the result is pixel 2 i."""
    k = x.new_tensor([1, 4, 6, 4, 1]).view(1, 1, 1, 5) / 16
    x = F.pad(x, (2, 2, 2, 2), mode="reflect")
    return F.conv2d(F.conv2d(x, k), k.mT)[..., ::2, ::2]


def _gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return 0.5 * (p[..., 1:-1, 2:] - p[..., 1:-1, :-2]), 0.5 * (p[..., 2:, 1:-1] - p[..., :-2, 1:-1])


def _block_means(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, STRIDE_PX, ceil_mode=True, count_include_pad=False)


def _neighbour_means(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, WINDOW_BLOCKS, stride=1, padding=WINDOW_BLOCKS // 2, count_include_pad=False)


def _window_means(x: Tensor) -> Tensor:
    return _neighbour_means(_block_means(x))


def _spread(blocks: Tensor, h: int, w: int) -> Tensor:
    """Blocks' values at every pixel, linear between the blocks' centres."""
    full = F.interpolate(blocks, scale_factor=float(STRIDE_PX), mode="bilinear", align_corners=False)
    return full[..., :h, :w]
