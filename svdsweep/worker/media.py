"""Writes a job's video and contact sheet, each under a temporary name until it is whole."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svdsweep.images.ffmpeg import PLAYABLE, FfmpegFailed, frames_in, run
from svdsweep.store.files import renamed_when_done

Frames = NDArray[np.uint8]
"""(frames, height, width, 3), RGB, 0–255."""

ENCODER = [*PLAYABLE, "-crf", "12", "-preset", "veryfast", "-x264-params", "partitions=none"]
"""Without smaller blocks: two thirds of the time, for files as large under noise and 7 % larger without."""
MOST_THREADS = 4
"""Of the encoder, which gains little by more for some 25 frames."""
SHEET_WIDTH_PX = 1280
PNG_LEVEL = 1
"""Of 9: a quarter of the time of the default, for a file that is a tenth larger."""


def write_video(path: Path, frames: Frames, fps: int, cores: int = 1) -> None:
    """Write H.264 in MP4 (yuv420p, BT.709, near-lossless), `fps` frames a second, playable everywhere; by as many
    threads as `cores` leave beside one.

    Sizes are multiples of 8, as the pipeline's are. Raises OSError for what the system refused (a full disk, a limit of
    file sizes) and FfmpegFailed when ffmpeg died, or when its file has not all frames: then there is no file."""
    count, height, width = frames.shape[:3]
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    threads = str(min(max(1, cores - 1), MOST_THREADS))
    with renamed_when_done(path) as part:
        run(
            [*given, *ENCODER, "-threads", threads, "-y", f"file:{part}"],
            np.ascontiguousarray(frames).data.cast("B"),
        )
        if (written := frames_in(part)) != count:
            raise FfmpegFailed(f"ffmpeg wrote {written} of {count} frames and ended as if it had written all")


def write_contact_sheet(path: Path, frames: Frames) -> None:
    """Write all frames on one PNG about `SHEET_WIDTH_PX` wide, left to right, top to bottom; small ones enlarged."""
    import PIL.Image

    count, height, width = frames.shape[:3]
    columns = min(count, 7 if count % 5 else 5)
    scale = SHEET_WIDTH_PX / columns / width
    size = (round(width * scale), round(height * scale))
    method = PIL.Image.Resampling.NEAREST if scale > 1 else PIL.Image.Resampling.LANCZOS
    gap = 2
    rows = -(-count // columns)
    sheet = PIL.Image.new("RGB", (columns * (size[0] + gap) - gap, rows * (size[1] + gap) - gap), "white")
    for i, frame in enumerate(frames):
        tile = PIL.Image.fromarray(frame).resize(size, method, reducing_gap=2.0)  # half the time
        sheet.paste(tile, ((i % columns) * (size[0] + gap), i // columns * (size[1] + gap)))
    with renamed_when_done(path) as part:
        sheet.save(part, format="PNG", compress_level=PNG_LEVEL)
