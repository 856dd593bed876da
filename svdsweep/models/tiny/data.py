"""Procedural clips with a known truth: sprites that go where their colour says, and a moving camera.

A clip is a float tensor in [-1, 1] of shape (batch, frames, 3, size, size); its first frame is the
conditioning image. Two kinds:

* sprites: one or two coloured shapes on a textured ground. The hue is the heading: red goes right, green up,
  blue left, magenta down; a white sprite has no hue, so its heading cannot be known from the image: it is the
  seed's to choose;
* camera: a photograph or a texture under a camera that pans left, pans right or zooms in: the seed chooses.

The speed is the same law for all of them: pixels a frame, proportional to the motion bucket and to 1 / fps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

SIZE = 64
NUM_FRAMES = 14
SPEED_AT_255_PX = 1.6
"""Displacement of a sprite from frame to frame at motion bucket 255 and 7 fps."""
CAMERA_SHARE = 0.6
"""The camera's speed as a share of the sprite's."""
MEAN_RADIUS_PX = 0.3826 * SIZE
"""Mean distance of a pixel from the centre: what turns a zoom rate into a mean displacement."""
HEADINGS = torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]])
"""Right, up, left, down (x, y; y grows downwards) ..."""
HUES = torch.tensor([0.03, 0.33, 0.58, 0.83])
"""... for red, green, blue, magenta."""
NUM_SHAPES = 5
"""Disc, square, triangle, diamond, plus."""
PHOTOGRAPHS = ("rocket", "astronaut", "chelsea")
"""The packaged photographs that are trained on; `coffee` is held out."""
IMAGES = Path(__file__).parents[2] / "images"


@dataclass(frozen=True)
class Scene:
    """What a sprite clip is made of, before anything moves (the first dimension is the batch).

    ground: (B, 3, size, size) in [0, 1]. The others have one entry for each of the two sprites: `visible`,
    `shape`, `heading` (x, y), `start_px` (x, y), `radius_px`, `colour` (RGB in [0, 1]).
    """

    ground: Tensor
    visible: Tensor
    shape: Tensor
    heading: Tensor
    start_px: Tensor
    radius_px: Tensor
    colour: Tensor

    def __getitem__(self, index: slice) -> Scene:
        """Return some of the scenes."""
        return Scene(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def speed_px(bucket: Tensor, fps: Tensor) -> Tensor:
    """Return the law that the model is to learn: pixels a frame of a sprite, elementwise."""
    return SPEED_AT_255_PX * bucket / 255.0 * (7.0 / fps).clamp(0.2, 1.25)


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return RGB in the last dimension, all in [0, 1] (the closed form of the hexcone)."""

    def channel(n: int) -> Tensor:
        k = (n + hue % 1.0 * 6) % 6
        return value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], -1)


def sample_scenes(
    batch: int, generator: Generator, *, white: float = 0.1, second: float = 0.2, size: int = SIZE
) -> Scene:
    """Draw sprite scenes.

    white: share of scenes whose only sprite is white. second: share with a second sprite, coloured.
    """

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    is_white = rand(batch) < white
    turn = torch.randint(0, 4, (batch, 1), generator=generator)
    turn = torch.cat([turn, (turn + torch.randint(1, 4, (batch, 1), generator=generator)) % 4], 1)
    heading = HEADINGS[turn]
    saturation = (0.8 + 0.18 * rand(batch, 2)) * (~is_white[:, None])
    colour = hsv_to_rgb(HUES[turn] + 0.08 * (rand(batch, 2) - 0.5), saturation, 0.85 + 0.15 * rand(batch, 2))
    along, across = 9 + 14 * rand(batch, 2, 1), 9 + 46 * rand(batch, 2, 1)
    start = torch.where(heading > 0, along, torch.where(heading < 0, SIZE - along, across))
    start = torch.where(is_white[:, None, None], 27 + 10 * rand(batch, 2, 2), start)
    visible = torch.stack([torch.ones(batch), (rand(batch) < second) & ~is_white], 1)
    return Scene(
        ground=_sample_ground(batch, generator, size),
        visible=visible,
        shape=torch.randint(0, NUM_SHAPES, (batch, 2), generator=generator),
        heading=heading,
        start_px=start * size / SIZE,
        radius_px=(5.5 + 3 * rand(batch, 2)) * size / SIZE,
        colour=colour,
    )


def render_sprites(scene: Scene, speed: Tensor, frames: int | Tensor = NUM_FRAMES) -> Tensor:
    """Render a clip (B, T, 3, size, size) in [-1, 1]; speed in px a frame (B,); frames: how many, or which."""
    size = scene.ground.shape[-1]
    time = torch.arange(frames).float() if isinstance(frames, int) else frames.float()
    axis = torch.arange(size) + 0.5
    video = scene.ground[:, None].expand(-1, len(time), -1, -1, -1)
    for sprite in (1, 0):
        travelled = speed[:, None] * time[None]
        centre = scene.start_px[:, sprite, None] + scene.heading[:, sprite, None] * travelled[..., None]
        x = axis[None, None, None, :] - centre[..., 0, None, None]
        y = axis[None, None, :, None] - centre[..., 1, None, None]
        distance = _signed_distance(scene.shape[:, sprite], x, y, scene.radius_px[:, sprite])
        alpha = (0.5 - distance / 1.4).clamp(0, 1) * scene.visible[:, sprite, None, None, None]
        colour = scene.colour[:, sprite, None, :, None, None]
        video = video + alpha[:, :, None] * (colour - video)
    return video * 2 - 1


def _sample_ground(batch: int, generator: Generator, size: int) -> Tensor:
    """A gradient between two dull colours under two crossed waves, (B, 3, size, size) in [0, 1]."""

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    y, x = torch.meshgrid(*[(torch.arange(size) + 0.5) / size * SIZE] * 2, indexing="ij")
    angle = 2 * math.pi * rand(batch, 3, 1, 1)
    colours = hsv_to_rgb(rand(batch, 2), 0.05 + 0.3 * rand(batch, 2), 0.25 + 0.45 * rand(batch, 2))
    across = (x - SIZE / 2) * angle[:, 0].cos() + (y - SIZE / 2) * angle[:, 0].sin()
    weight = (across / SIZE + 0.5).clamp(0, 1)[:, None]
    ground = torch.lerp(colours[:, 0, :, None, None], colours[:, 1, :, None, None], weight)
    for wave in (1, 2):
        frequency, phase = 0.08 + 0.24 * rand(batch, 1, 1), 2 * math.pi * rand(batch, 1, 1)
        along = x * angle[:, wave].cos() + y * angle[:, wave].sin()
        ground = ground + ((frequency * along + phase).sin() * 0.06 * rand(batch, 1, 1))[:, None]
    return ground.clamp(0, 1)


def _signed_distance(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Distance in px to the edge of each shape, negative inside; x, y broadcast to (B, T, H, W)."""
    r = radius[:, None, None, None]
    ax, ay = x.abs(), y.abs()
    near, far = torch.minimum(ax, ay), torch.maximum(ax, ay)
    choices = [
        (x * x + y * y).sqrt() - r,
        far - 0.88 * r,
        torch.maximum(y - 0.75 * r, 0.894 * ax - 0.447 * (y + 1.15 * r)),
        (ax + ay) * 0.7071 - 0.8 * r,
        torch.maximum(near - 0.42 * r, far - 1.05 * r),
    ]
    index = shape[:, None, None, None]
    distance = choices[0]
    for number, choice in enumerate(choices[1:], start=1):
        distance = torch.where(index == number, choice, distance)
    return distance


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
        dice = torch.rand(12, generator=generator).tolist()
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
            image, camera_path(speed, int(dice[8] * 3), time), (centre_x, centre_y), (scale_x, scale_y)
        )
        contrast, brightness = 0.75 + 0.4 * dice[9], 0.4 * (dice[10] - 0.5)
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
    image: Tensor,
    path: tuple[Tensor, Tensor],
    centre: tuple[float, float],
    scale: tuple[float, float],
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


def sample_conditions(batch: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw motion buckets, frame rates and noise strengths, each (B,), the ends of the ranges oversampled."""

    def rand() -> Tensor:
        return torch.rand(batch, generator=generator)

    bucket = torch.randint(0, 256, (batch,), generator=generator).float()
    dice = rand()
    bucket = torch.where(dice < 0.08, 0.0, torch.where(dice > 0.88, 255 - 30 * rand(), bucket))
    fps = torch.randint(5, 31, (batch,), generator=generator).float()
    fps = torch.where(rand() < 0.75, 7.0, fps)
    dice = rand()
    strength = (math.log(0.01) + rand() * math.log(120)).exp()
    strength = torch.where(dice < 0.45, 0.02, torch.where(dice > 0.95, 0.0, strength))
    return bucket, fps, strength


def sample_batch(
    batch: int, generator: Generator, bank: CameraBank, *, camera: float = 0.3
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw clips with their conditions: video (B, T, 3, H, W), bucket, fps, noise strength (B,)."""
    bucket, fps, strength = sample_conditions(batch, generator)
    speed = speed_px(bucket, fps)
    num_camera = round(batch * camera - 0.5 + float(torch.rand(1, generator=generator)))
    clips = [render_sprites(sample_scenes(batch - num_camera, generator), speed[num_camera:])]
    if num_camera:
        clips.insert(0, bank.sample(speed[:num_camera], generator))
    return torch.cat(clips), bucket, fps, strength
