"""A sweep's clips at the size of a cell, on the disk: one ffmpeg after another reads each once, none is in memory."""

import errno
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from svdsweep.errors import UserError
from svdsweep.images.ffmpeg import FfmpegFailed, run
from svdsweep.report.montage.cells import Clip

MOST_FRAMES = 1_000
"""Of a clip; what follows is left out."""
MIB = 2**20
LARGEST_PX = 8192 * 4320
"""Of a frame; a stranger's larger one is not decoded."""
SCALED = (
    "scale={w}:{h}:force_original_aspect_ratio=decrease:flags=bicubic+accurate_rnd+full_chroma_int,"
    "format=rgb24,pad={w}:{h}:-1:-1:white"
)
READ = ("-f", "mp4", "-protocol_whitelist", "file", "-max_pixels", str(LARGEST_PX), "-threads", "1")
"""A file of a sweep is a video in MP4 and nothing else: no list that names other files."""

Frame = NDArray[np.uint8]
"""(height, width, 3), RGB."""


@dataclass(frozen=True)
class Scaled:
    """The frames of a clip, raw in a file."""

    path: Path
    size: tuple[int, int]
    """Width and height, px."""
    frames: int
    fps: int

    def frame(self, number: int) -> Frame:
        """A frame, counted from 0; beyond the last one it is the last one, which a clip that has ended holds."""
        width, height = self.size
        pixels = width * height * 3
        with self.path.open("rb") as file:
            file.seek(min(number, self.frames - 1) * pixels)
            return np.frombuffer(file.read(pixels), np.uint8).reshape(height, width, 3)


def check_room(clips: Sequence[Clip], size: tuple[int, int], folder: Path) -> None:
    """Raise UserError unless `folder` has room for the raw frames of these clips at `size`, width and height in px."""
    width, height = size
    needed = width * height * 3 * sum(min(clip.frames, MOST_FRAMES) for clip in clips)
    if needed > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"The frames of these {len(clips)} videos at {width}×{height} px take {needed / MIB:,.0f} MiB while the "
            f"montage is made, and {folder.parent} has {free / MIB:,.0f} MiB free. Make room there, name another "
            "folder by the environment variable TMPDIR (under Windows TEMP), or ask for less: a smaller --cell, or "
            "--where."
        )


def scaled(
    clips: Sequence[Clip], size: tuple[int, int], folder: Path, fps: int | None = None
) -> dict[str, Scaled]:
    """Each clip that can be read, by its key, fitted into `size` (width and height, px) with its shape kept, white
    beside it; `folder` takes the raw frames. `fps` is the rate of all, where given."""
    found = {}
    for number, clip in enumerate(tqdm(clips, "reading clips", leave=False, disable=not sys.stderr.isatty())):
        path = folder / f"{number}.rgb"
        if frames := _decoded(clip, size, path):
            found[clip.key] = Scaled(path, size, frames, fps or clip.fps)
    return found


def _decoded(clip: Clip, size: tuple[int, int], path: Path) -> int:
    """How many frames were written; 0 for what is no video."""
    width, height = size
    fitted = SCALED.format(w=width, h=height)
    shape = ["-frames:v", str(MOST_FRAMES), "-fps_mode", "passthrough", "-vf", fitted]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-y", f"file:{path}"]
    try:
        run([*READ, "-i", f"file:{clip.path}", "-map", "0:v:0", *shape, *raw])
    except FfmpegFailed as e:
        if (e.code or 0) <= 0:  # killed, or not started: no fault of the clip
            raise
        return 0
    except OSError as e:
        if e.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM):
            raise
        return 0
    return path.stat().st_size // (width * height * 3)
