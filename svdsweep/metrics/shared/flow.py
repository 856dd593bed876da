"""Optical flow without weights (pyramidal Lucas-Kanade, zero-mean windows), warps, and where to trust both."""

from functools import lru_cache

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
    grid = flow.new_empty(flow.shape[0], *flow.shape[2:], 2)
    for i, side in enumerate(
        (x.shape[-1], x.shape[-2])
    ):  # −1 and 1 are the centres of the first and last pixel
        scale = 2 / max(side - 1, 1)
        here = torch.arange(side, device=flow.device, dtype=flow.dtype) * scale - 1
        torch.add(here[:, None] if i else here, flow[:, i], alpha=scale, out=grid[..., i])
    return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=True)


def trusted(forward: Tensor, backward: Tensor) -> Tensor:
    """Where flow there and back agree and stay inside the picture: (N, H, W) bool, by the rule of Sundaram et al. 2010
    (|f + b|² ≤ 0.01 (|f|² + |b|²) + 0.5)."""
    back = warp(backward, forward)
    gap = squared_length(forward + back)
    size = squared_length(forward) + squared_length(back)
    gx, gy = _targets(forward)
    h, w = forward.shape[-2:]
    inside = (gx >= -0.5) & (gx <= w - 0.5) & (gy >= -0.5) & (gy <= h - 0.5)
    return inside & (gap <= 0.01 * size + 0.5)


def squared_length(flow: Tensor) -> Tensor:
    """x² + y² of a flow (N, 2, h, w): (N, h, w)."""
    x, y = flow.unbind(1)
    return torch.addcmul(x * x, y, y)


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
    mx, my, axx, axy, ayy = _window_means(gx, gy, gx * gx, gx * gy, gy * gy).chunk(5, 1)
    axx, axy, ayy = axx - mx * mx, axy - mx * my, ayy - my * my
    damping = DAMPING * (axx + ayy).mean((2, 3), keepdim=True) + 1e-8
    axx, ayy = axx + damping, ayy + damping
    determinant = axx * ayy - axy * axy
    for _ in range(ITERATIONS):
        change = warp(b, _spread(blocks, h, w)) - a
        bx, by, mean = _window_means(gx * change, gy * change, change).chunk(3, 1)
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
    x = F.pad(x, (2, 2, 2, 2), mode="reflect")
    for side in (-2, -1):  # sums, as a convolution of a single channel takes ten times as long on a CPU
        a, b, c, d, e = x.unfold(side, 5, 2).unbind(-1)
        x = (a + e + 4 * (b + d) + 6 * c) / 16
    return x


def _gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return 0.5 * (p[..., 1:-1, 2:] - p[..., 1:-1, :-2]), 0.5 * (p[..., 2:, 1:-1] - p[..., :-2, 1:-1])


def _block_means(x: Tensor) -> Tensor:
    """Means of blocks of `STRIDE_PX`; those at the end are smaller where a side is no multiple."""
    h, w = x.shape[-2:]
    rows, columns = (x.new_full((-(-side // STRIDE_PX),), STRIDE_PX) for side in (h, w))
    if h % STRIDE_PX or w % STRIDE_PX:
        rows[-1], columns[-1] = (1 + (side - 1) % STRIDE_PX for side in (h, w))
        x = F.pad(x, (0, -w % STRIDE_PX, 0, -h % STRIDE_PX))
    # sums of what lies STRIDE_PX apart: on a CPU half the time of torch's pooling
    lines = sum((x[..., i::STRIDE_PX, :] for i in range(1, STRIDE_PX)), x[..., ::STRIDE_PX, :])
    sums = sum((lines[..., i::STRIDE_PX] for i in range(1, STRIDE_PX)), lines[..., ::STRIDE_PX])
    return sums / (rows[:, None] * columns)


def _neighbour_means(x: Tensor) -> Tensor:
    """Means over `WINDOW_BLOCKS` each way, of fewer at the border; by matrices, on a CPU an eighth of the time of
    torch's pooling."""
    down, across = (_averaging(side, x.device, x.dtype) for side in x.shape[-2:])
    return down @ x @ across.T


@lru_cache(maxsize=32)
def _averaging(count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix (count, count) that takes values in a row to means over `WINDOW_BLOCKS` of them."""
    places = torch.arange(count, device=device)
    near = ((places[:, None] - places).abs() <= WINDOW_BLOCKS // 2).to(dtype)
    return near / near.sum(1, keepdim=True)


def _window_means(*channels: Tensor) -> Tensor:
    """Means over windows of each of (N, 1, H, W), a channel each."""
    return _neighbour_means(torch.cat([_block_means(x) for x in channels], 1))


def _spread(blocks: Tensor, h: int, w: int) -> Tensor:
    """Blocks' values at every pixel, linear between the blocks' centres."""
    wide = F.interpolate(blocks, scale_factor=(1.0, float(STRIDE_PX)), mode="bilinear", align_corners=False)
    lines = F.pad(wide[..., :w], (0, 0, 1, 1), mode="replicate")
    full = lines.new_empty(*blocks.shape[:3], STRIDE_PX, lines.shape[-1])
    for i in range(STRIDE_PX):  # whole lines at once: a third of the time
        above = (i + 0.5) / STRIDE_PX + 0.5  # how far below the middle of the block above
        first = int(above)
        torch.lerp(
            lines[..., first : first + blocks.shape[2], :],
            lines[..., first + 1 : first + 1 + blocks.shape[2], :],
            above - first,
            out=full[..., i, :],
        )
    return full.flatten(2, 3)[..., :h, :]
