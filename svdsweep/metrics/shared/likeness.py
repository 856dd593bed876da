"""Luma, PSNR, SSIM, CIE Lab and sharpness of pictures (N, 3, H, W), float32 in 0–1."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SSIM_WINDOW_PX = 11


def luma(x: Tensor) -> Tensor:
    """BT.601 luma of RGB, full range: (N, 1, H, W)."""
    r, g, b = x.unbind(1)
    return (0.299 * r + 0.587 * g + 0.114 * b)[:, None]


def squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean squared difference of uint8 pictures of one shape, as values in 0–1."""
    return float(np.square(a.astype(np.float32) - b).mean(dtype=np.float64)) / 255**2


class Windowed:
    """A picture (1, 3, H, W) with the local means and variances that SSIM compares, computed once for all pairs."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.mean, square = blur(torch.cat([x, x * x])).chunk(2)
        self.variance = square - self.mean * self.mean


def ssim(a: Windowed, b: Windowed) -> float | None:
    """Structural similarity, −1 to 1: Gaussian window of 11 px with σ = 1.5, K = 0.01 and 0.03, valid region, mean
    over colours (Wang et al. 2004). None where a side is shorter than the window."""
    if min(a.x.shape[-2:]) < SSIM_WINDOW_PX:
        return None
    c1, c2 = 0.01**2, 0.03**2
    product = a.mean * b.mean
    covariance = blur(a.x * b.x) - product
    structure = (2 * covariance + c2) / (a.variance + b.variance + c2)
    brightness = (2 * product + c1) / (a.mean * a.mean + b.mean * b.mean + c1)
    return float((structure * brightness).mean())


def blur(x: Tensor) -> Tensor:
    """Gaussian window of `SSIM_WINDOW_PX` and σ = 1.5 over the valid region; nothing where that is empty."""
    if min(x.shape[-2:]) < SSIM_WINDOW_PX:
        return x[..., :0, :0]
    ramp = torch.arange(SSIM_WINDOW_PX, dtype=torch.float64) - SSIM_WINDOW_PX // 2
    window = torch.exp(-(ramp**2) / (2 * 1.5**2))
    k = (window / window.sum()).to(x).expand(x.shape[1], 1, 1, -1)
    x = x.contiguous(memory_format=torch.channels_last)  # in the other layout the CPU takes ten times as long
    return F.conv2d(F.conv2d(x, k, groups=x.shape[1]), k.mT, groups=x.shape[1])


def laplacian_variance(y: Tensor) -> float:
    """Variance of the 4-neighbour Laplacian of luma (1, 1, H, W) in levels of 255: a measure of sharpness."""
    y = y * 255
    centre = y[..., 1:-1, 1:-1]
    ring = y[..., :-2, 1:-1] + y[..., 2:, 1:-1] + y[..., 1:-1, :-2] + y[..., 1:-1, 2:]
    return float((ring - 4 * centre).var(correction=0))


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
