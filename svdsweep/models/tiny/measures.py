"""What is measured on the frames of clips: likeness, the place of a sprite, the travel of a camera."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from svdsweep.models.tiny.camera import CAMERA_SHARE, camera_path, render_camera
from svdsweep.models.tiny.data import SIZE

Frames = npt.NDArray[np.uint8]
"""(T, H, W, 3)."""


def psnr_db(a: Frames, b: Frames) -> float:
    """Return the peak signal-to-noise ratio; 99 for equal arrays."""
    error = float(np.square(a.astype(np.float64) - b).mean())
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def adjacent_psnr_db(frames: Frames) -> float:
    """Return the mean over neighbouring frames."""
    return float(np.mean([psnr_db(a, b) for a, b in pairwise(frames)]))


def locate_sprite(frames: Frames) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the centre (T, 2), x and y in px, and the area (T,) in px of what is vividly coloured."""
    values = frames.astype(np.float64) / 255
    mask = np.clip((values.max(-1) - values.min(-1) - 0.35) / 0.2, 0, 1)
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    area = mask.sum((1, 2))
    centre = np.stack([(mask * x).sum((1, 2)), (mask * y).sum((1, 2))], 1) / (area[:, None] + 1e-6)
    return centre, area


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the rank correlation, ties at their mean rank."""

    def ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def camera_travel(first: Frames, last: Frames) -> tuple[str, float]:
    """Return how the camera went from one frame (H, W, 3) to another: its mode and the mean displacement in px.

    Tries every pan and zoom of the generator on the first frame and takes the one that comes nearest to the
    last, comparing only what both show.
    """
    image, target = (torch.from_numpy(f.astype(np.float32)).permute(2, 0, 1) for f in (first, last))
    best = ("still", 0.0, float("inf"))
    travels = torch.arange(0, 20.01, 0.25)
    for mode, name in enumerate(("pan left", "pan right", "zoom in")):
        offset, zoom = camera_path(1 / CAMERA_SHARE, mode, travels)
        moved = render_camera(image, (offset, zoom), (SIZE / 2, SIZE / 2), (1.0, 1.0))
        x = torch.arange(SIZE) + 0.5 - SIZE / 2
        seen = ((offset[:, None] + x / zoom[:, None]).abs() < SIZE / 2).float()[:, None, None, :]
        error = ((moved - target).square() * seen).mean((1, 2, 3)) / seen.mean((1, 2, 3))
        index = int(error.argmin())
        if float(error[index]) < best[2]:
            best = (name, float(travels[index]), float(error[index]))
    return best[0], best[1]
