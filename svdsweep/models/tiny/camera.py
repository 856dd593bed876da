"""The other kind of clip: a camera that pans over photographs and textures.

It always pans right: a choice that the picture does not tell, a model so small averages into a blur. Panning
left and zooming in are here for the evaluation, which asks how a camera went.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from svdsweep.models.tiny.data import NUM_FRAMES, SIZE

CAMERA_SHARE = 0.6
"""The camera's speed as a share of the sprite's."""
CAMERA_MODE = 1
"""Of `camera_path`: pan right. A choice the picture does not tell is averaged into a blur by a model so small."""
MEAN_RADIUS_PX = 0.3826 * SIZE
"""Mean distance of a pixel from the centre: what turns a zoom rate into a mean displacement."""
PHOTOGRAPHS = ("rocket", "astronaut", "chelsea")
"""The packaged photographs that are trained on; `coffee` is held out."""


class CameraBank:
    """The large images that the camera moves over: photographs at several scales, and textures.

    Textures are dead leaves (random overlapping discs and boxes) and fractal noise, which have the edges and
    the spectrum of photographs.
    """

    def __init__(self, photographs: Sequence[Path], seed: int, num_textures: int = 96) -> None:
        generator = torch.Generator().manual_seed(seed)
        photos = [load_image(path) for path in photographs]
        self.photographs = [_shrink(photo, side) for photo in photos for side in (72, 88, 112, 144, 208)]
        self.textures = [
            _dead_leaves(generator) if number % 3 else _fractal_noise(generator)
            for number in range(num_textures)
        ]

    def sample(
        self, speed: Tensor, generator: Generator, frames: int | Tensor = NUM_FRAMES, photo: float = 0.6
    ) -> Tensor:
        """Render one clip for each sprite speed in (B,); photo: the share of photographs."""
        time = torch.arange(frames).float() if isinstance(frames, int) else frames.float()
        return torch.stack([self._clip(float(v), generator, time, photo) for v in speed])

    def _clip(self, speed: float, generator: Generator, time: Tensor, photo: float) -> Tensor:
        dice = torch.rand(10, generator=generator).tolist()
        shelf = self.photographs if dice[0] < photo else self.textures
        image = shelf[int(dice[1] * len(shelf))]
        if dice[2] < 0.5:
            image = image.flip(-1)
        if dice[3] < 0.3:
            image = image[torch.randperm(3, generator=generator)]
        height, width = image.shape[-2:]
        step = 1 + min(0.35, min(height, width) / SIZE - 1) * dice[4]
        scale_y, scale_x = step * (0.9 + 0.2 * dice[5]), step
        centre_y = (height - SIZE * scale_y) * dice[6] + SIZE * scale_y / 2
        centre_x = (width - SIZE * scale_x) * dice[7] + SIZE * scale_x / 2
        clip = render_camera(
            image, camera_path(speed, CAMERA_MODE, time), (centre_x, centre_y), (scale_x, scale_y)
        )
        contrast, brightness = 0.75 + 0.4 * dice[8], 0.4 * (dice[9] - 0.5)
        toned: Tensor = (clip * contrast + brightness).clamp(-1, 1)
        return toned


def camera_path(speed: float, mode: int, time: Tensor) -> tuple[Tensor, Tensor]:
    """Return the camera's horizontal offset in px of the frame and its magnification, both (T,).

    speed: of a sprite at these conditions, px a frame; mode: 0 pan left, 1 pan right, 2 zoom in. The mean
    displacement of a pixel is `CAMERA_SHARE` of the speed in each mode.
    """
    travelled = CAMERA_SHARE * speed * time
    if mode == 2:
        return torch.zeros_like(time), (travelled / MEAN_RADIUS_PX).exp()
    return travelled * (1 if mode else -1), torch.ones_like(time)


def render_camera(
    image: Tensor, path: tuple[Tensor, Tensor], centre: tuple[float, float], scale: tuple[float, float]
) -> Tensor:
    """Look at an image (3, H, W) through a moving window of 64 x 64 px: (T, 3, 64, 64).

    centre and scale: of the window at the first frame, x and y, in px of the image (a px of the frame).
    """
    height, width = image.shape[-2:]
    offset, zoom = path
    axis = torch.arange(SIZE) + 0.5 - SIZE / 2
    x = centre[0] + scale[0] * (offset[:, None] + axis[None] / zoom[:, None])
    y = centre[1] + scale[1] * (axis[None] / zoom[:, None])
    grid = torch.stack(
        [
            (2 * x / width - 1)[:, None, :].expand(-1, SIZE, -1),
            (2 * y / height - 1)[:, :, None].expand(-1, -1, SIZE),
        ],
        -1,
    )
    source = image[None].expand(len(offset), -1, -1, -1)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def load_image(path: Path) -> Tensor:
    """Read an image file as (3, H, W) in [-1, 1]."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1


def _shrink(image: Tensor, side: int) -> Tensor:
    height, width = image.shape[-2:]
    factor = side / min(height, width)
    return F.interpolate(
        image[None],
        size=(round(height * factor), round(width * factor)),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[0]


def _dead_leaves(generator: Generator, side: int = 128) -> Tensor:
    """Overlapping discs and boxes with a power law of sizes, shaded by low noise."""
    axis = torch.arange(side) + 0.5
    image = torch.rand(3, 1, 1, generator=generator).expand(3, side, side)
    palette = torch.rand(5, 3, generator=generator)
    palette = torch.lerp(palette.mean(1, keepdim=True), palette, 0.6)
    for _ in range(60):
        a = torch.rand(8, generator=generator)
        radius = 5.0 * (1 - 0.96 * float(a[0])) ** -0.7
        dx, dy = (axis - a[1] * side)[None, :], (axis - a[2] * side)[:, None]
        box = torch.maximum(dx.abs() * (0.5 + a[3]), dy.abs())
        distance = (box if a[4] < 0.4 else (dx * dx + dy * dy).sqrt()) - radius
        colour = palette[int(a[5] * 5)] * (0.7 + 0.6 * a[6]) + 0.1 * (a[7] - 0.5)
        image = torch.lerp(image, colour[:, None, None], (0.5 - distance / 1.5).clamp(0, 1)[None])
    return (image * 2 - 1 + 0.15 * _fractal_noise(generator, side)).clamp(-1, 1)


def _fractal_noise(generator: Generator, side: int = 128) -> Tensor:
    """Coloured noise whose amplitude falls with the frequency."""
    frequency = torch.fft.fftfreq(side)
    radius = (frequency[:, None] ** 2 + frequency[None] ** 2).sqrt().clamp_min(1 / side)
    slope = 1.2 + 0.8 * float(torch.rand(1, generator=generator))
    noise = torch.fft.fft2(torch.randn(3, side, side, generator=generator)) / radius**slope
    noise = torch.fft.ifft2(noise).real
    noise = noise / noise.std()
    mix = torch.eye(3) * 0.5 + 0.6 * torch.randn(3, 1, generator=generator).expand(3, 3)
    return (torch.einsum("ij,jhw->ihw", mix, noise) * 0.35).clamp(-1, 1)
