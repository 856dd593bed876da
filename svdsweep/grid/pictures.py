"""What a picture means for its video: the size under `height=auto`, and what is lost of it."""

import math
from collections.abc import Iterable, Iterator

from svdsweep import images
from svdsweep.config import Job
from svdsweep.config.parts import Model
from svdsweep.errors import some

STEEPEST = 4.0
"""The sides of a video of `auto` size are at most so unlike; of a longer picture a part is cut."""
CUT, STRETCHED, ENLARGED, DARK = 0.2, 1.25, 4.0, 31
"""From where on it is told: the share that is cut off, ratios of lengths, a level of 255."""
NAMED = 3
"""So many pictures are named in a warning."""


def multiple_px(model: Model) -> int:
    """What heights and widths are multiples of, so that each network halves them evenly."""
    own = model.source == "embedded" or model.weights == "random"
    return 16 if own and model.architecture == "tiny" else 64


def auto_size(job: Job, own_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width (px) of a job's video, of which one or both are `auto`: of the picture's shape.

    Both: the nearest multiples whose area is at most that of `own_size`, so that the job needs no more memory."""
    step = multiple_px(job.model)
    seen = images.look(images.locate(job.image.path))
    ratio = min(max(seen.width / seen.height, 1 / STEEPEST), STEEPEST)
    if isinstance(job.height, int):
        return job.height, max(step, step * round(job.height * ratio / step))
    if isinstance(job.width, int):
        return max(step, step * round(job.width / ratio / step)), job.width
    area = math.prod(own_size)
    wished = math.sqrt(area / ratio), math.sqrt(area * ratio)
    heights, widths = ((math.floor(px / step) * step, math.ceil(px / step) * step) for px in wished)
    sizes = [(h, w) for h in heights for w in widths if h and w and h * w <= area]
    return min(sizes or [(step, step)], key=lambda size: math.dist(_logs(size), _logs(wished)))


def doubts_of_pictures(jobs: Iterable[Job]) -> list[str]:
    """What is lost of pictures on their way into videos, a sentence for each kind of loss and size of video."""
    shown = {(job.image.path, job.image.fit, job.width, job.height): job.image.name for job in jobs}
    by_loss: dict[str, dict[str, None]] = {}
    for (path, fit, width, height), name in shown.items():
        seen = images.look(images.locate(path))
        for loss, figure in _losses(seen, fit, width, height):
            by_loss.setdefault(loss, {})[f"{name} ({figure})"] = None
    return [loss.format(some(list(names), NAMED)) for loss, names in by_loss.items()]


def _losses(seen: images.Look, fit: str, width: int, height: int) -> Iterator[tuple[str, str]]:
    """A sentence with room for the names of pictures, and the figure that goes with this one."""
    wide, high = width / seen.width, height / seen.height
    kept = min(wide, high) / max(wide, high)
    fill = f"To fill {width}×{height},"
    cures = "image.fit=pad keeps all of it"
    if 1 / STEEPEST <= seen.width / seen.height <= STEEPEST:
        cures += ", height=auto width=auto gives the video its shape"
    if fit == "crop" and 1 - kept > CUT:
        yield f"{fill} much is cut off: {{}}. {cures}.", f"{int(100 * (1 - kept))} %"
    if fit == "stretch" and 1 / kept > STRETCHED:
        longer = "wide" if wide > high else "high"
        yield f"{fill} shapes are distorted: {{}}. {cures}.", f"{1 / kept:.1f} times as {longer}"
    enlarged = min(wide, high) if fit == "pad" else max(wide, high)
    if enlarged > ENLARGED:
        yield f"{fill} what is seen is enlarged to a blur: {{}}.", f"{enlarged:.0f} times"
    if seen.frames > 1:
        yield "Only the first frame is used: {}.", f"{seen.frames} frames"
    if seen.brightest is not None and seen.brightest <= DARK:
        yield "Nearly black throughout: {}.", f"brightest level {seen.brightest} of 255"


def _logs(size: tuple[float, float]) -> list[float]:
    """Ratios of lengths, of which equal ones are equally far apart."""
    return [math.log(px) for px in size]
