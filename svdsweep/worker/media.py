"""Writes a job's video and contact sheet, each under a temporary name until it is whole."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svdsweep.errors import UserError
from svdsweep.store.files import renamed_when_done

Frames = NDArray[np.uint8]
"""(frames, height, width, 3), RGB, 0–255."""

FORMAT = {"codec": "libx264", "pix_fmt_out": "yuv420p", "macro_block_size": 2}
ENCODER = [
    *("-crf", "12", "-preset", "veryfast", "-threads", "1"),
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    *("-movflags", "+faststart"),
]
SHEET_WIDTH_PX = 1280
FFMPEG_CURE = (
    "pip install --force-reinstall imageio-ffmpeg, or point IMAGEIO_FFMPEG_EXE at an ffmpeg with libx264"
)


def ffmpeg() -> str:
    """The path of the program that writes videos. Raises UserError where there is none, with what to do."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as e:
        raise UserError(f"Videos cannot be written: {e}. {FFMPEG_CURE[0].upper()}{FFMPEG_CURE[1:]}.") from e


def write_video(path: Path, frames: Frames, fps: int) -> None:
    """Write H.264 in MP4 (yuv420p, BT.709, near-lossless), `fps` frames a second, playable everywhere.

    Sizes are multiples of 8, as the pipeline's are. Raises OSError when the file cannot be written."""
    import imageio_ffmpeg

    height, width = frames.shape[1:3]
    with renamed_when_done(path) as part:
        size = (width, height)
        writer = imageio_ffmpeg.write_frames(str(part), size, fps=fps, output_params=ENCODER, **FORMAT)
        try:
            writer.send(None)
            for frame in np.ascontiguousarray(frames):
                writer.send(frame)
        finally:
            writer.close()
        if not part.exists() or not part.stat().st_size:
            raise OSError(f"ffmpeg wrote no video to {path}: is the disk full?")


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
        tile = PIL.Image.fromarray(frame).resize(size, method)
        sheet.paste(tile, ((i % columns) * (size[0] + gap), i // columns * (size[1] + gap)))
    with renamed_when_done(path) as part:
        sheet.save(part, format="PNG")
