"""A picture as it lies in its file: opened within stated memory, read whole, and looked at once."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.errors import UserError
from svdsweep.images.tones import ToneError, brightest, white

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LARGEST_PX = 200_000_000
"""A phone's largest picture; as JPEG 2000 it takes most memory, 4 GiB, as WebP 3, as anything else less than 2."""
NOT_OPENED = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
"""Formats that Pillow knows but opens only with the help of other programs, if at all."""
FILMS = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats whose further frames are pictures of their own, no previews or layers."""
ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
"""EXIF's tag for how a camera was held, and its values for a picture whose sides are swapped."""


class Unreadable(UserError):
    """A file is no picture that can be used; `reason` says why without naming it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"image={path}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Look:
    """What planning has to know of a picture."""

    sha256: str
    """Of the file's content."""
    width: int
    """px, as those below; of the picture held upright."""
    height: int
    frames: int
    brightest: int | None
    """The highest level of any colour, of 255; None where that was not looked at."""


def look(path: Path) -> Look:
    """A look at a picture, read whole, so that one that lacks its end is seen; again only when the file changed.

    Raises UserError when it cannot be used."""
    try:
        stat = path.stat()
    except OSError as e:
        raise Unreadable(path, f"this file cannot be read as a picture: {e.strerror}.") from e
    return _look(path, stat.st_mtime_ns, stat.st_size)


@cache
def _look(path: Path, modified_ns: int, size_bytes: int) -> Look:
    with opened(path) as picture:
        frames = getattr(picture, "n_frames", 1) if picture.format in FILMS else 1
        turned = picture.format != "TIFF" and picture.getexif().get(ORIENTATION) in ON_ITS_SIDE
        width, height = reversed(picture.size) if turned else picture.size
        picture.draft(None, (1, 1))  # of a JPEG every byte is read all the same, in half the time
        picture.load()
        white(picture)
        return Look(sha256_of(path), width, height, frames, brightest(picture))


def sha256_of(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@cache
def endings() -> frozenset[str]:
    """The endings of files that Pillow opens as pictures, in lower case: `.png`, `.avif`, `.ppm` …"""
    import PIL.Image

    known = PIL.Image.registered_extensions().items()  # which also loads Pillow's plugins
    return frozenset(ending for ending, form in known if form in PIL.Image.OPEN and form not in NOT_OPENED)


@contextmanager
def opened(path: Path) -> "Iterator[Picture]":
    """The picture in a file, its pixels not read yet. Raises UserError, also for what reading them stumbles over."""
    import PIL.Image

    try:
        with _limit(), PIL.Image.open(path) as picture:
            if picture.format in NOT_OPENED or _is_raw(picture, path):
                raise PIL.UnidentifiedImageError
            yield picture
    except UserError:
        raise
    except ToneError as e:
        raise Unreadable(path, str(e)) from e
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError) as e:
        most = f"up to {LARGEST_PX // 10**6} million pixels are opened, within 4 GiB of memory"
        raise Unreadable(path, f"this picture is too large: {most}. Scale it down.") from e
    except Exception as e:  # decoders raise anything, from SyntaxError to struct.error
        raise Unreadable(path, f"this file cannot be read as a picture: {_reason(path, e)}.") from e


def _is_raw(picture: "Picture", path: Path) -> bool:
    """Whether this is the preview in a camera's raw file (DNG, NEF, CR2 …), which opens as a TIFF."""
    return picture.format == "TIFF" and bool(path.suffix) and path.suffix.lower() not in endings()


def _reason(path: Path, e: Exception) -> str:
    """What is wrong with a file, and what to do."""
    import PIL

    if isinstance(e, PIL.UnidentifiedImageError):
        if not path.stat().st_size:
            return "it is empty"
        return "it is broken, or in no format that Pillow opens; save it anew, as PNG or JPEG"
    words = " ".join(str(e).split()) or type(e).__name__
    return f"{words}; a copy that ended early? Copy or save it anew"


@contextmanager
def _limit() -> Iterator[None]:
    """Pillow's limit of pixels is this module's; of its warnings only the one that tells of that limit counts."""
    import PIL.Image

    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = LARGEST_PX
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before
