"""How the frames of a montage become a file: a video, a moving picture, or one sheet."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from svdsweep.errors import UserError
from svdsweep.images.ffmpeg import PLAYABLE, FfmpegFailed, feed, frames_in
from svdsweep.report.montage.clips import Frame

MP4 = (*PLAYABLE, "-crf", "16", "-preset", "medium", "-rc-lookahead", "10", "-threads", "1", "-f", "mp4")
WEBP = ("-c:v", "libwebp_anim", "-quality", "85", "-compression_level", "4", "-loop", "0", "-f", "webp")
GIF = ("-lavfi", "paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle", "-loop", "0", "-f", "gif")
KINDS = (".mp4", ".webp", ".gif", ".png")
NAMES = [f"montage{kind}" for kind in KINDS]
"""Files of a sweep's folder that its page shows; the first is what is written where nothing else is said."""
Frames = Callable[[], Iterator[Frame]]
"""The frames, as often as one asks for them."""


def check_kind(path: Path) -> None:
    """Raise UserError where a file's ending is no kind of montage."""
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path} is no name of a montage: it ends in {', '.join(KINDS[:-1])} or {KINDS[-1]}.")


def write(part: Path, kind: str, frames: Frames, size: tuple[int, int], rate: int, count: int) -> None:
    """Write all frames to `part`, whatever its name ends in.

    Raises OSError for what the system refused and FfmpegFailed when ffmpeg died or left fewer frames."""
    if kind == ".png":
        Image.fromarray(next(frames())).save(part, format="PNG")
        return
    width, height = size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    target = ["-y", f"file:{part}"]
    if kind == ".gif":
        with tempfile.TemporaryDirectory() as folder:
            palette = Path(folder) / "palette.png"
            feed([*given, "-vf", "palettegen=stats_mode=full", "-y", f"file:{palette}"], _bytes(frames))
            feed([*given, "-i", f"file:{palette}", *GIF, *target], _bytes(frames))
        return
    feed([*given, *(WEBP if kind == ".webp" else MP4), *target], _bytes(frames))
    if kind == ".mp4" and (written := frames_in(part)) != count:
        raise FfmpegFailed(f"ffmpeg wrote {written} of {count} frames and ended as if it had written all")


def _bytes(frames: Frames) -> Iterator[memoryview]:
    return (frame.data.cast("B") for frame in frames())
