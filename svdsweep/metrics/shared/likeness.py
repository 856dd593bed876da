"""Luma, PSNR, SSIM, CIE Lab and sharpness of pictures (N, 3, H, W), float32 in 0–1."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Frames = NDArray[np.uint8]
"""(F, H, W, 3), RGB, 0–255."""
SSIM_WINDOW_PX = 11
C1, C2 = 0.01**2, 0.03**2
"""SSIM's constants for values in 0–1."""
LINES_AT_ONCE = 48


def as_tensor(frames: Frames, device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) as float32 (N, 3, H, W) in 0–1, in channels-last memory."""
    return torch.tensor(frames, device=device).permute(0, 3, 1, 2).float().div_(255)


def luma(x: Tensor) -> Tensor:
    """BT.601 luma of RGB, full range: (N, 1, H, W)."""
    r, g, b = x.unbind(1)
    return (0.299 * r + 0.587 * g + 0.114 * b)[:, None]


def squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared difference of uint8 pictures of one shape, as values in 0–1."""
    return float(np.square(a.astype(np.float32) - b).mean(dtype=np.float64)) / 255**2


@dataclass(frozen=True)
class Likeness:
    """Of frames to others, a value a frame."""

    mse: list[float]
    """Mean squared difference of values in 0–1."""
    largest_255: list[int]
    """Largest difference of any value, in levels."""
    ssim: list[float | None]
    """See `similarity`; None where a side is shorter than the window."""


def likenesses(
    frames: Frames, others: Mapping[str, Frames | None], device: torch.device
) -> dict[str, Likeness]:
    """Likeness of `frames` to each of `others`: to a picture of its own each (F, H, W, 3), to one for all of them
    (1, H, W, 3), or, where that is None, to the frame before; the first has none.

    What a frame alone gives is computed once for all of `others`: on a CPU for a few lines at a time, which stay in its
    cache (half the time), elsewhere for whole frames. Nothing waits for the device before the end."""
    count, height = frames.shape[:2]
    sums: dict[str, list[Tensor]] = {name: [] for name in others}
    strips = _strips(height, device)
    for strip in strips:
        lines = slice(strip.start, strip.stop + SSIM_WINDOW_PX - 1)
        partners: dict[str, Windowed | None] = dict.fromkeys(others)
        for t in range(count):
            now = Windowed(as_tensor(frames[t : t + 1, lines], device))
            for name, pictures in others.items():
                if pictures is not None and (t == 0 or len(pictures) > 1):
                    partners[name] = Windowed(as_tensor(pictures[t : t + 1, lines], device))
                if partner := partners[name]:
                    sums[name].append(_sums(now, partner, len(strip)))
                if pictures is None:
                    partners[name] = now
    return {name: _means(torch.stack(those), len(strips), frames) for name, those in sums.items() if those}


def _means(sums: Tensor, strips: int, frames: Frames) -> Likeness:
    """What `_sums` gave for every strip of every frame, over whole frames."""
    height, width = frames.shape[1:3]
    windows = 3 * max(0, height - SSIM_WINDOW_PX + 1) * max(0, width - SSIM_WINDOW_PX + 1)
    squares, similar, largest = sums.view(strips, -1, 3).cpu().double().unbind(2)
    return Likeness(
        (squares.sum(0) / (3 * height * width)).tolist(),
        [round(255 * gap) for gap in largest.amax(0).tolist()],
        [total / windows if windows else None for total in similar.sum(0).tolist()],
    )


def _strips(height: int, device: torch.device) -> list[range]:
    """The lines that are compared at once."""
    step = LINES_AT_ONCE if device.type == "cpu" else height
    return [range(first, min(first + step, height)) for first in range(0, height, step)]


def _sums(a: "Windowed", b: "Windowed", lines: int) -> Tensor:
    """Squared differences in the first `lines` of two strips, likeness of all their windows, largest difference."""
    gaps = a.x[..., :lines, :] - b.x[..., :lines, :]
    in_a_row = gaps.permute(0, 2, 3, 1).flatten()  # as they lie in memory, a third of the time
    return torch.stack([in_a_row.dot(in_a_row), similarity(a, b).sum(), in_a_row.abs_().max()])


class Windowed:
    """Pictures (1, 3, H, W) with the local means and variances that SSIM compares, computed once for all pairs."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.mean = blur(x)
        self.power = torch.addcmul(x.new_full((), C1 / 2), self.mean, self.mean)
        """The square of the mean, with half of SSIM's C₁."""
        self.variance = blur(torch.addcmul(x.new_full((), (C1 + C2) / 2), x, x)).sub_(self.power)
        """With half of SSIM's C₂: a constant is its own mean over a window."""


def similarity(a: Windowed, b: Windowed) -> Tensor:
    """Structural similarity, −1 to 1, of every window: Gaussian of 11 px with σ = 1.5, K = 0.01 and 0.03, valid region
    (Wang et al. 2004). Empty where a side is shorter than the window.

    (2 μ₁ μ₂ + C₁) (2 σ₁₂ + C₂) / ((μ₁² + μ₂² + C₁) (σ₁² + σ₂² + C₂)), the constants added where that is no further pass
    over the pictures, of which each costs as much as any other."""
    above = torch.addcmul(a.x.new_full((), C1), a.mean, b.mean, value=2)
    products = torch.addcmul(a.x.new_full((), C1 + C2), a.x, b.x, value=2)
    above.mul_(blur(products).sub_(above))
    return above.div_((a.power + b.power).mul_(a.variance + b.variance))


def blur(x: Tensor) -> Tensor:
    """Gaussian window of `SSIM_WINDOW_PX` and σ = 1.5 over the valid region; nothing where that is empty."""
    if min(x.shape[-2:]) < SSIM_WINDOW_PX:
        return x[..., :0, :0]
    n, c, h, w = x.shape
    across, down = _windows(c, h, x.device, x.dtype)
    if x.device.type != "cpu":
        return F.conv2d(F.conv2d(x, across, groups=c), across.mT, groups=c)
    # on a CPU, down by a matrix, which takes a quarter of the time for a few lines, and across in channels-last memory
    lines = down @ x.permute(0, 2, 3, 1).reshape(n, h, w * c)
    return F.conv2d(lines.view(n, -1, w, c).permute(0, 3, 1, 2), across, groups=c)


@lru_cache(maxsize=8)
def _windows(colours: int, height: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The Gaussian window as the kernels of a convolution (colours, 1, 1, 11) and as the matrix that takes `height`
    lines to those of the valid region."""
    ramp = torch.arange(SSIM_WINDOW_PX, dtype=torch.float64) - SSIM_WINDOW_PX // 2
    window = torch.exp(-(ramp**2) / (2 * 1.5**2))
    k = (window / window.sum()).to(device, dtype)
    valid = height - len(k) + 1
    return k.expand(colours, 1, 1, -1), F.pad(k, (0, valid)).repeat(valid)[: valid * height].view(-1, height)


def laplacian_variance(y: Tensor) -> Tensor:
    """Variance of the 4-neighbour Laplacian of luma (1, 1, H, W), in levels of 255: a measure of sharpness."""
    centre = y[..., 1:-1, 1:-1]
    ring = y[..., :-2, 1:-1] + y[..., 2:, 1:-1]
    ring += y[..., 1:-1, :-2]
    ring += y[..., 1:-1, 2:]
    return ring.sub_(centre, alpha=4).var(correction=0)


def lab(x: Tensor) -> Tensor:
    """CIE 1976 L*a*b* (D65) of sRGB in 0–1; distances in it are ΔE."""
    linear = torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    to_xyz = torch.tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    ).to(x)
    white = torch.tensor([0.95047, 1.0, 1.08883]).to(x)
    xyz = torch.einsum("ij,njhw->nihw", to_xyz, linear) / white[:, None, None]
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-12) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
