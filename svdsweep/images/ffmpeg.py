"""The ffmpeg program: found, and run as a process of our own whose end is looked at. A dead one has written nothing."""

import contextlib
import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from svdsweep.errors import UserError
from svdsweep.platforms import system

CODEC = "libx264"
PLAYABLE = (
    *("-c:v", CODEC, "-pix_fmt", "yuv420p"),
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    *("-movflags", "+faststart"),
)
"""H.264 in MP4 that plays everywhere and says which colours it has; sizes are even."""
OWN = "IMAGEIO_FFMPEG_EXE"
"""The variable that names an ffmpeg of the user's."""
QUIET = ("-hide_banner", "-v", "error", "-nostats")
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
"""What a system may refuse to a file, and ffmpeg repeats in the system's words."""
LAST_LINES = 5


class FfmpegFailed(RuntimeError):
    """Raised when ffmpeg does not start, dies, or leaves another file than was asked for; it names the cause."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """Its exit code, negative for a signal; None where it ended well or did not start."""


def program() -> str:
    """The path of ffmpeg: what `OWN` says, else imageio-ffmpeg's. Raises FfmpegFailed where there is none."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as e:
        raise FfmpegFailed(str(e)) from e


def fault() -> str:
    """Why no video can be written here, in words; empty where it can be. Starts ffmpeg, which takes 20 ms."""
    try:
        about = run(["-h", f"encoder={CODEC}"]).decode(errors="replace")
    except (FfmpegFailed, OSError) as e:
        return str(e)
    return "" if f"Encoder {CODEC}" in about else f"{program()} has no {CODEC}"


def check() -> None:
    """Raise UserError, with what to do, where no video can be written."""
    if why := fault():
        raise UserError(f"Videos cannot be written: {why}. To mend it: {cure()}.")


def cure() -> str:
    """What to do where no video can be written."""
    ours = f"unset {OWN}" if os.environ.get(OWN) else "pip install --force-reinstall imageio-ffmpeg"
    return f"{ours}, or point {OWN} at an ffmpeg with {CODEC}"


def run(arguments: Sequence[str], given: bytes | memoryview = b"") -> bytes:
    """What ffmpeg prints, with `given` as its standard input.

    Raises OSError for what the system refused to it (a full disk, a limit of file sizes), FfmpegFailed for any other
    end but a good one."""
    command = [program(), *QUIET, *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True)
    except OSError as e:
        raise FfmpegFailed(f"ffmpeg does not start ({e})") from e
    _judge(done.returncode, done.stderr)
    return done.stdout


def feed(arguments: Sequence[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Run ffmpeg with `pieces` as its standard input, one after another, so that no more than one is in memory.

    Raises what `run` raises, also for an ffmpeg that ended well before it had taken all."""
    command = [program(), *QUIET, *arguments]
    with tempfile.TemporaryFile() as said:  # a pipe that nobody empties would stop it
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        except OSError as e:
            raise FfmpegFailed(f"ffmpeg does not start ({e})") from e
        try:
            taken = _taken(process.stdin, pieces)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        said.seek(0)
        _judge(process.returncode, said.read())
    if not taken:
        raise FfmpegFailed("ffmpeg ended before it had read all, as if that were well")


def _taken(pipe: IO[bytes] | None, pieces: Iterable[bytes | memoryview]) -> bool:
    """Write all pieces and close the pipe; whether its other end took them."""
    assert pipe is not None
    try:
        return all(_written(pipe, piece) for piece in pieces)
    finally:
        with contextlib.suppress(OSError):  # what a dead ffmpeg left in it
            pipe.close()


def _written(pipe: IO[bytes], piece: bytes | memoryview) -> bool:
    try:
        pipe.write(piece)
        pipe.flush()
    except OSError as e:
        if e.errno not in (errno.EPIPE, errno.EINVAL):  # EINVAL: Windows
            raise
        return False
    return True


def _judge(code: int, said: bytes) -> None:
    """Raise the error of `run` that an exit code and the words on standard error mean."""
    if not code:
        return
    words = re.sub(r" @ 0x[0-9a-f]+", "", said.decode(errors="replace"))
    lines = [line for line in words.splitlines() if line.strip()][-LAST_LINES:]
    how = ": ".join([f"ffmpeg ended: {system.ending(code)}", *filter(None, ["; ".join(lines)])])
    if system.met_size_limit(code):
        raise OSError(errno.EFBIG, f"The file would be larger than this process may write (ulimit -f). {how}")
    for number in REFUSALS:
        if os.strerror(number) in words:
            raise OSError(number, f"{os.strerror(number)}. {how}")
    raise FfmpegFailed(how, code)


def frames_in(path: Path) -> int:
    """How many whole frames a video file holds, without decoding them (20 ms; 80 ms for 10 MB).

    Raises FfmpegFailed for what is no video."""
    # a frame that the file breaks off in is no frame
    printed = run(
        [
            "-fflags",
            "+discardcorrupt",
            "-i",
            f"file:{path}",
            "-map",
            "0:v:0",
            "-c",
            "copy",
            "-f",
            "framecrc",
            "-",
        ]
    )
    return sum(not line.startswith(b"#") for line in printed.splitlines())
