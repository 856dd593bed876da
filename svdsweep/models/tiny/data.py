"""Procedural clips with a known truth: sprites that go where their colour says. `camera` has the other kind.

A clip is a float tensor in [-1, 1] of shape (batch, frames, 3, size, size); its first frame is the
conditioning image: one or two coloured shapes on a textured ground. The hue is the heading: red goes right,
green up, blue left, magenta down; a white sprite has no hue, so its heading cannot be known from the image: it
is the seed's to choose. The speed is proportional to the motion bucket and to 1 / fps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Generator, Tensor

SIZE = 64
NUM_FRAMES = 14
SPEED_AT_255_PX = 1.6
"""Displacement of a sprite from frame to frame at motion bucket 255 and 7 fps."""
SLOW, SLOW_SHARE = 70, 0.3
"""Training draws this share of the motion buckets below the first number, beside what an even choice gives."""
HEADINGS = torch.tensor([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]])
"""Right, up, left, down (x, y; y grows downwards) ..."""
HUES = torch.tensor([0.03, 0.33, 0.58, 0.83])
"""... for red, green, blue, magenta."""
NUM_SHAPES = 5
"""Disc, square, triangle, diamond, plus."""
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


def sample_conditions(
    batch: int, generator: Generator, slow_share: float = SLOW_SHARE
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw motion buckets, frame rates and noise strengths, each (B,), the ends of the ranges oversampled.

    slow_share: of the motion buckets, how many are drawn below `SLOW`.
    """

    def rand() -> Tensor:
        return torch.rand(batch, generator=generator)

    bucket = torch.randint(0, 256, (batch,), generator=generator).float()
    dice = rand()
    bucket = torch.where(
        dice < slow_share, (SLOW * rand()).round(), torch.where(dice > 0.88, 255 - 30 * rand(), bucket)
    )
    bucket = torch.where(dice < 0.05, 0.0, bucket)
    fps = torch.randint(5, 31, (batch,), generator=generator).float()
    fps = torch.where(rand() < 0.75, 7.0, fps)
    dice = rand()
    strength = (math.log(0.01) + rand() * math.log(120)).exp()
    strength = torch.where(dice < 0.6, 0.02, torch.where(dice > 0.95, 0.0, strength))
    return bucket, fps, strength
