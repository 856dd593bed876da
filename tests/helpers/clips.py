"""Clips with known answers, made of waves: their value is known at every point between the pixels, so a shift, a zoom
or a blur is exact. Everything takes a seed and is the same on every machine."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
SMALL, LARGE = (64, 64), (576, 1024)
WAVELENGTHS = {"smooth": (24.0, 64.0), "textured": (6.0, 48.0), "fine": (1.5, 12.0)}
"""In pixels of a picture whose shorter side is 64 or less; a larger picture has larger waves, up to fourfold."""


@dataclass(frozen=True)
class Surface:
    """A coloured picture without pixels: `waves` cosines, levels of 255 about a grey."""

    texture: str = "textured"
    size: tuple[int, int] = SMALL
    seed: int = 0
    contrast: float = 30.0
    """Standard deviation in levels."""
    waves: int = 48

    def __call__(
        self, x: NDArray[np.float64], y: NDArray[np.float64], blur_px: float = 0.0
    ) -> NDArray[np.float64]:
        """Levels at columns `x` and rows `y`, (len(y), len(x), 3), after a Gaussian blur of σ = `blur_px`."""
        rng = np.random.default_rng(self.seed)
        low, high = (length * min(4.0, max(1.0, min(self.size) / 64)) for length in WAVELENGTHS[self.texture])
        lengths = np.exp(rng.uniform(np.log(low), np.log(high), self.waves))
        angles = rng.uniform(0, 2 * np.pi, self.waves)
        kx, ky = 2 * np.pi / lengths * np.cos(angles), 2 * np.pi / lengths * np.sin(angles)
        strength = (
            lengths / np.sqrt((lengths**2).sum() / 2) * self.contrast
        )  # as in photographs: 1 / frequency
        strength = strength * np.exp(-0.5 * blur_px**2 * (kx**2 + ky**2))
        common = rng.uniform(0, 2 * np.pi, self.waves)
        channels = []
        for _ in range(3):
            phase = strength * np.exp(1j * (common + rng.normal(0, 0.4, self.waves)))
            channels.append(((phase * np.exp(1j * np.outer(y, ky))) @ np.exp(1j * np.outer(kx, x))).real)
        return 128 + np.stack(channels, -1)

    def frame(
        self, dx: float = 0.0, dy: float = 0.0, zoom: float = 1.0, blur_px: float = 0.0
    ) -> NDArray[np.float64]:
        """The picture moved by (dx, dy) pixels to the right and down, and enlarged about its centre."""
        height, width = self.size
        cx, cy = (width - 1) / 2, (height - 1) / 2
        x = cx + (np.arange(width) - cx) / zoom - dx
        y = cy + (np.arange(height) - cy) / zoom - dy
        return self(x, y, blur_px)


@dataclass(frozen=True)
class Clip:
    """Frames before they become uint8, so that what is added later is exact."""

    levels: NDArray[np.float64]
    """(F, H, W, 3), 0–255."""
    chunk: int | None = None
    truth: dict[str, float] = field(default_factory=dict)
    """What a metric must say, by column."""

    @property
    def frames(self) -> Frames:
        return self.levels.round().clip(0, 255).astype(np.uint8)

    def plus(self, more: NDArray[np.float64], **truth: float) -> "Clip":
        """The clip with something added to its levels."""
        return replace(self, levels=self.levels + more, truth={**self.truth, **truth})


def path(surface: Surface, shifts: list[float]) -> Clip:
    """The picture at each of `shifts` (px, to the right and half as much down)."""
    return Clip(np.stack([surface.frame(dx=s * np.sqrt(0.8), dy=s * np.sqrt(0.2)) for s in shifts]))


def static(surface: Surface, count: int) -> Clip:
    return replace(
        path(surface, [0.0] * count), truth={"motion_px": 0.0, "mc_flicker_255": 0.0, "dup_frac": 1.0}
    )


def pan(surface: Surface, count: int, speed_px: float) -> Clip:
    return replace(path(surface, [speed_px * t for t in range(count)]), truth={"motion_px": speed_px})


def zoom(surface: Surface, count: int, rate: float) -> Clip:
    """Enlarged by `1 + rate` a frame: a point at distance r from the centre moves by rate × r."""
    levels = np.stack([surface.frame(zoom=(1 + rate) ** t) for t in range(count)])
    height, width = surface.size
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return Clip(levels, truth={"motion_px": float(rate * distance.mean())})


def moving_object(surface: Surface, count: int, speed_px: float) -> Clip:
    """A disc of another texture, a quarter of the height in radius, crossing a standing ground."""
    other = replace(surface, seed=surface.seed + 100)
    height, width = surface.size
    y, x = np.mgrid[:height, :width]
    ground, levels = surface.frame(), []
    for t in range(count):
        shift = speed_px * (t - (count - 1) / 2)
        distance = np.hypot(y - height / 2, x - width / 2 - shift)
        mask = np.clip(height / 4 - distance + 0.5, 0, 1)[..., None]
        levels.append(mask * other.frame(dx=shift) + (1 - mask) * ground)
    return Clip(np.stack(levels), truth={"motion_top5_px": speed_px})


def flicker(clip: Clip, amplitude: float) -> Clip:
    """Every other frame brighter by `amplitude` levels."""
    bright = np.arange(len(clip.levels)) % 2 * amplitude
    return clip.plus(bright[:, None, None, None], luma_flicker_255=amplitude, mc_flicker_255=amplitude)


def noise(clip: Clip, deviation: float, seed: int = 1) -> Clip:
    """White noise, new in every frame, equal in the colours."""
    rng = np.random.default_rng(seed)
    return clip.plus(rng.normal(0, deviation, (*clip.levels.shape[:3], 1)))


def shimmer(clip: Clip, surface: Surface, deviation: float, seed: int = 500) -> Clip:
    """Another faint texture over every frame."""
    shape = clip.levels.shape
    more = [
        replace(surface, texture="textured", seed=seed + t, contrast=deviation).frame() - 128
        for t in range(shape[0])
    ]
    return clip.plus(np.stack(more))


def judder(surface: Surface, count: int, speed_px: float) -> Clip:
    """Twice the speed, then a repeated frame, and so on."""
    shifts = [2 * speed_px * (t // 2) for t in range(count)]
    return replace(path(surface, shifts), truth={"flow_accel_px": 2 * speed_px, "motion_px": speed_px})


def jitter(surface: Surface, count: int, speed_px: float, amplitude_px: float, seed: int = 3) -> Clip:
    """A pan whose every position is off by up to `amplitude_px`."""
    off = np.random.default_rng(seed).uniform(-amplitude_px, amplitude_px, count)
    shifts = [speed_px * t + off[t] for t in range(count)]
    steps = np.diff(shifts)
    return replace(path(surface, shifts), truth={"flow_accel_px": float(np.abs(np.diff(steps)).mean())})


def cut(surface: Surface, count: int, speed_px: float = 0.5) -> Clip:
    """Two pans of different pictures, one after the other."""
    first, second = (
        pan(surface, count, speed_px),
        pan(replace(surface, seed=surface.seed + 7), count, speed_px),
    )
    half = count // 2
    return Clip(np.concatenate([first.levels[:half], second.levels[half:]]), truth={"low_coverage_pairs": 1})


def morph(surface: Surface, count: int) -> Clip:
    """A slow fade into another picture."""
    weight = np.linspace(0, 1, count)[:, None, None, None]
    return Clip((1 - weight) * surface.frame() + weight * replace(surface, seed=surface.seed + 7).frame())


def seam(clip: Clip, surface: Surface, chunk: int, deviation: float) -> Clip:
    """A faint texture that is another one in each chunk of frames, as chunks decoded apart have."""
    count = len(clip.levels)
    patterns = [
        replace(surface, texture="textured", seed=900 + c, contrast=deviation).frame() - 128
        for c in range(-(-count // chunk))
    ]
    more = np.stack([patterns[t // chunk] for t in range(count)])
    return replace(clip.plus(more), chunk=chunk)


def level_seam(clip: Clip, chunk: int, amplitude: float) -> Clip:
    """Every other chunk of frames brighter by `amplitude` levels."""
    bright = np.arange(len(clip.levels)) // chunk % 2 * amplitude
    return replace(clip.plus(bright[:, None, None, None]), chunk=chunk)


def color_drift(clip: Clip, red: float) -> Clip:
    """Red rises by `red` levels from the first frame to the last."""
    rise = np.linspace(0, red, len(clip.levels))
    return clip.plus(rise[:, None, None, None] * np.array([1.0, 0.0, 0.0]))


def blur_ramp(surface: Surface, count: int, last_px: float) -> Clip:
    """A standing picture that blurs, σ from 0 to `last_px`."""
    return Clip(np.stack([surface.frame(blur_px=s) for s in np.linspace(0, last_px, count)]))


def black(surface: Surface, count: int) -> Clip:
    return Clip(np.zeros((count, *surface.size, 3)), truth={"flat_frames": count, "black_frames": count})


def catalogue(surface: Surface, count: int) -> dict[str, Clip]:
    """Every kind of clip, by what happens in it; speeds suit the size."""
    speed = 1.0 if min(surface.size) < 256 else 4.0
    still, moving = static(surface, count), pan(surface, count, speed)
    chunk = 5 if count > 6 else 4
    made: dict[str, Callable[[], Clip]] = {
        "static": lambda: still,
        "slow pan": lambda: pan(surface, count, speed / 2),
        "pan": lambda: moving,
        "fast pan": lambda: pan(surface, count, 2 * speed),
        "zoom": lambda: zoom(surface, count, 0.02),
        "moving object": lambda: moving_object(surface, count, speed),
        "flicker 2": lambda: flicker(still, 2),
        "flicker 8": lambda: flicker(still, 8),
        "noise 2": lambda: noise(still, 2),
        "noise 4": lambda: noise(still, 4),
        "shimmer 4": lambda: shimmer(still, surface, 4),
        "pan + shimmer 4": lambda: shimmer(moving, surface, 4),
        "judder": lambda: judder(surface, count, speed),
        "jitter": lambda: jitter(surface, count, speed, speed / 2),
        "cut": lambda: cut(surface, count),
        "morph": lambda: morph(surface, count),
        "seam 4": lambda: seam(moving, surface, chunk, 4),
        "red +20": lambda: color_drift(still, 20),
        "blur to 2 px": lambda: blur_ramp(surface, count, 2.0 * max(1.0, min(surface.size) / 256)),
        "black": lambda: black(surface, count),
    }
    return {name: make() for name, make in made.items()}
