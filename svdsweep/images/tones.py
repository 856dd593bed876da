"""The tones of a picture of any kind as 8 bits of red, green and blue: deep greys, palettes, inks, profiles."""

import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ROWS = 256
"""A deep picture is converted so many rows at once: as numbers it takes four times the memory."""
LARGE_PX = 50_000_000
"""Above it a picture is averaged down before anything else is done with it."""
AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Modes in which a mean of pixels is the pixel between them."""
SPACES = {"RGB": "RGB", "CMYK": "CMYK", "L": "GRAY"}
"""The colour space that a profile must be of, by mode."""
PHOTOMETRIC, BITS, WHITE_IS_ZERO = 262, 258, 0
"""Tags of TIFF: which value is white, how many bits a value has."""


class ToneError(Exception):
    """A picture does not say how bright its values are meant."""


def white(picture: "Picture") -> float | None:
    """The value that is white in a picture of deep greys (16 or 32 bits, floating point); None for 8 bits.

    Where the file does not say it, the nearest of 1, 255 and 65535 above all values. Raises ToneError where there is
    none, or where all values are below a quarter of it: taken so, the picture would be black."""
    if not (whites := _whites(picture)):
        return None
    extremes = np.array([(band.min(), band.max()) for band in _bands(picture)], np.float64)
    low, high = extremes[:, 0].min(), extremes[:, 1].max()
    nearest = next((level for level in whites if high <= level), math.nan)
    if not (low == high == 0 or (low >= 0 and 4 * high >= nearest)):
        allowed = " or ".join(f"{level:g}" for level in whites)
        raise ToneError(
            f"its grey values go from {low:g} to {high:g}, where white is {allowed}, so how bright they are meant is "
            "not known. Save it with values of 0–255 in 8 bits, or 0–65535 in 16."
        )
    return nearest


def brightest(picture: "Picture") -> int | None:
    """The highest level of any colour, of 255, in a mode that shows it: greys and RGB."""
    if picture.mode == "L":
        return int(picture.getextrema()[1])  # type: ignore[arg-type]
    return max(int(high) for _, high in picture.getextrema()) if picture.mode == "RGB" else None  # type: ignore[misc]


def rgb(picture: "Picture") -> "Picture":
    """The picture in RGB and sRGB, upright, its transparent parts on white; above `LARGE_PX` averaged down."""
    import PIL.Image
    import PIL.ImageOps

    factor = math.ceil(math.sqrt(picture.width * picture.height / LARGE_PX))
    if factor > 1:
        picture.draft(None, (picture.width // factor, picture.height // factor))  # a JPEG is decoded smaller
    if level := white(picture):
        picture = _shallow(picture, level)
    factor = math.ceil(math.sqrt(picture.width * picture.height / LARGE_PX))
    if factor > 1:
        plain = "RGBA" if picture.has_transparency_data else "RGB"
        picture = (picture if picture.mode in AVERAGED else picture.convert(plain)).reduce(factor)
    profile = picture.info.get("icc_profile")
    picture = PIL.ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layers.size, "white"), layers).convert(
            "RGB"
        )
    return _in_srgb(picture, profile)


def _whites(picture: "Picture") -> tuple[float, ...]:
    """What may be white in a mode of deep greys, ascending; empty for 8 bits."""
    if picture.mode.startswith("I;16"):
        return (2 ** _tags(picture).get(BITS, (16,))[0] - 1,)
    if picture.mode == "I":
        return (65535,) if picture.format in ("PNG", "PPM") else (255, 65535)
    return (1, 255, 65535) if picture.mode == "F" else ()


def _tags(picture: "Picture") -> Any:
    return getattr(picture, "tag_v2", {})


def _bands(picture: "Picture") -> Iterator[NDArray[Any]]:
    """The values of a picture of one channel, some rows at once."""
    for top in range(0, picture.height, ROWS):
        yield np.asarray(picture.crop((0, top, picture.width, min(top + ROWS, picture.height))))


def _shallow(picture: "Picture", level: float) -> "Picture":
    """Greys in 8 bits, rounded, of a picture in which `level` is white."""
    import PIL.Image

    grey = np.concatenate([np.rint(band * (255 / level)).astype(np.uint8) for band in _bands(picture)])
    if _tags(picture).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    shallow = PIL.Image.fromarray(grey)
    shallow.info = {k: v for k, v in picture.info.items() if k != "transparency"}  # a grey of the deep ones
    return shallow


def _in_srgb(picture: "Picture", profile: bytes | None) -> "Picture":
    """In RGB, converted by a profile that is of the picture's mode and is not sRGB's own; a broken one says nothing."""
    from PIL import ImageCms

    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            is_srgb = "srgb" in ImageCms.getProfileDescription(source).lower()
            if not is_srgb and source.profile.xcolor_space.strip() == SPACES.get(picture.mode):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB")
                return converted or picture
        except (ImageCms.PyCMSError, OSError):
            pass
    return picture.convert("RGB")
