"""Frames from a video file or from a folder of pictures, as (F, H, W, 3) uint8 RGB."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svdsweep.errors import UserError
from svdsweep.images import SUFFIXES as PICTURES
from svdsweep.images.ffmpeg import FfmpegFailed, run

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v")
PPM = re.compile(rb"P6\n(\d+) (\d+)\n255\n")
"""How each picture begins that ffmpeg prints: width and height, px."""


@dataclass(frozen=True)
class Read:
    """Frames, and whether the source went on after them."""

    frames: NDArray[np.uint8]
    cut_short: bool


def clips_in(path: Path) -> list[Path]:
    """The clips that a path means: a file, a folder of pictures (one clip), or the videos in a folder or in its
    `videos/`. Raises UserError when there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or folder.")
    videos = path / "videos" if (path / "videos").is_dir() else path
    clips = sorted((p for p in videos.iterdir() if p.suffix.lower() in VIDEOS), key=in_order)
    if clips:
        return clips
    if _pictures(path):
        return [path]
    raise UserError(f"{path}: this folder holds neither pictures ({', '.join(PICTURES)}) nor videos.")


def read(path: Path, at_most: int) -> Read:
    """The first `at_most` frames of a video, or of the pictures of a folder in the order of their numbers.

    Raises UserError, one sentence, for what is no clip of RGB pictures of one size with at least two frames."""
    frames = list(islice(_of_folder(path) if path.is_dir() else _of_video(path, at_most + 1), at_most + 1))
    if not frames:
        raise UserError(f"{path}: there are no frames in it.")
    if len(frames) == 1:
        raise UserError(f"{path}: there is only one frame in it, and consistency needs at least two.")
    return Read(np.stack(frames[:at_most]), len(frames) > at_most)


def in_order(path: Path) -> list[int | str]:
    """A key that sorts `frame_2` before `frame_10`."""
    parts = re.split(r"(\d+)", path.name)  # every second one is a number
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def _pictures(folder: Path) -> list[Path]:
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in PICTURES), key=in_order)


def _of_folder(folder: Path) -> Iterator[NDArray[np.uint8]]:
    import PIL.Image

    first: tuple[int, int] | None = None
    for path in _pictures(folder):
        try:
            with PIL.Image.open(path) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError) as e:
            raise UserError(f"{path}: this file cannot be read as a picture.") from e
        if picture.mode != "RGB":
            kind = {"L": "grey", "RGBA": "RGBA (it has transparency)", "P": "a palette picture"}
            raise UserError(
                f"{path}: this frame is {kind.get(picture.mode, picture.mode)}, and frames must be RGB: convert "
                "them all first."
            )
        first = first or picture.size
        if picture.size != first:
            raise UserError(
                f"{path}: this frame is {picture.width}×{picture.height} and the first is {first[0]}×{first[1]}; all "
                "frames must be of one size."
            )
        yield np.asarray(picture)


def _of_video(path: Path, at_most: int) -> Iterator[NDArray[np.uint8]]:
    """Every coded frame once, whatever its time stamp; colours by the matrix and range that the file names, else by
    ffmpeg's defaults."""
    if not path.stat().st_size:
        raise UserError(f"{path}: this file is empty.")
    pictures = ["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-frames:v", str(at_most)]
    exact = ["-fps_mode", "passthrough", "-sws_flags", "accurate_rnd+full_chroma_int+bicubic"]
    try:
        data = run(["-threads", "1", "-i", f"file:{path}", *pictures, *exact, "-"])
    except (FfmpegFailed, OSError) as e:
        if isinstance(e, FfmpegFailed) and (e.code or 0) > 0:
            raise UserError(f"{path}: this file cannot be read as a video.") from e
        raise UserError(f"{path}: this file has not been read: {e}.") from e
    if size := PPM.match(data):
        width, height = map(int, size.groups())
        pixels = np.frombuffer(data, np.uint8).reshape(-1, size.end() + 3 * width * height)[:, size.end() :]
        yield from pixels.reshape(-1, height, width, 3)
