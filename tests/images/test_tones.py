"""A picture of any kind keeps its tones, or is refused with a sentence: none comes out white or black by mistake."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.features
import PIL.Image
import pytest
from PIL import ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from svdsweep import images
from svdsweep.config import Image
from svdsweep.errors import UserError
from svdsweep.images import tones

SIZE = (64, 256)
RAMP = np.linspace(0, 1, SIZE[1])[None].repeat(SIZE[0], 0)
"""From black to white, in 256 columns."""
LEVELS = np.arange(256)[None, :, None]


def opened(path: Path) -> np.ndarray:
    images.identify(path)
    return np.asarray(images.open_image(Image(path=str(path)), *SIZE)).astype(int)


def png16(values: np.ndarray, colour_type: int, chunk: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""

    def chunked(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    middle = chunked(*((chunk[:4], chunk[4:]))) if chunk else b""
    ends = chunked(b"IDAT", zlib.compress(lines)) + chunked(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunked(b"IHDR", head) + middle + ends


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        ((RAMP * 65535).astype(np.uint16), "png"),
        ((RAMP * 65535).astype(np.uint16), "tif"),
        ((RAMP * 65535).astype(np.uint16), "pgm"),
        ((RAMP * 65535).astype(np.uint16), "jp2"),
        ((RAMP * 65535).astype(">u2"), "tif"),
        ((RAMP * 65535).astype(np.int32), "tif"),
        ((RAMP * 255).astype(np.int32), "tif"),
        (RAMP.astype(np.float32), "tif"),
        ((RAMP * 255).astype(np.float32), "tif"),
        ((RAMP * 65535).astype(np.float32), "tif"),
        (RAMP.astype(np.float32), "pfm"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}-{value.max():g}",
)
def test_a_deep_ramp_comes_out_as_a_ramp_of_8_bits(tmp_path, values, suffix):
    if suffix == "jp2" and not PIL.features.check("jpg_2000"):
        pytest.skip("Pillow was built without JPEG 2000")
    path = tmp_path / f"a.{suffix}"
    if values.dtype == ">u2":
        PIL.Image.frombytes("I;16B", SIZE[::-1], values.tobytes()).save(path)
    else:
        PIL.Image.fromarray(values).save(path)
    # one level for rounding; JPEG 2000 loses nothing here
    assert np.abs(opened(path) - LEVELS).max() <= 1


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_colours_of_16_bits_keep_their_tones(tmp_path, colour_type, channels):
    values = (RAMP * 65535).astype(np.uint16)[..., None].repeat(channels, -1)
    if channels != 3:
        values[..., -1] = 65535
    path = tmp_path / "a.png"
    path.write_bytes(png16(values, colour_type))
    assert np.abs(opened(path) - LEVELS).max() <= 1


def test_a_transparent_grey_of_16_bits_is_a_tone_as_the_others(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png16((RAMP * 65535).astype(np.uint16), 0, b"tRNS" + struct.pack(">H", 65535)))
    assert np.abs(opened(path) - LEVELS).max() <= 1


@pytest.mark.parametrize(
    ("tag", "value", "top"), [(262, 0, 65535), (258, 12, 4095)], ids=["white-is-0", "12 bits"]
)
def test_tiff_says_which_value_is_white(tmp_path, tag, value, top):
    picture = PIL.Image.fromarray((RAMP * top).astype(np.uint16))
    tags = ImageFileDirectory_v2()
    tags[tag] = (value,)
    picture.tag_v2 = tags
    levels = np.asarray(tones.rgb(picture)).astype(int)
    assert np.abs((levels if tag == 258 else 255 - levels) - LEVELS).max() <= 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((RAMP * 4095).astype(np.uint16), "from 0 to 4095, where white is 65535,"),
        ((RAMP * 1000).astype(np.int32), "from 0 to 1000, where white is 255 or 65535,"),
        ((RAMP * 1e6).astype(np.int32), "from 0 to 1e+06, where white is 255 or 65535,"),
        ((RAMP - 0.5).astype(np.float32), "from -0.5 to 0.5, where white is 1 or 255 or 65535,"),
        ((RAMP * 3).astype(np.float32), "from 0 to 3, where"),
        (np.where(RAMP > 0.5, np.nan, 0.5).astype(np.float32), "from nan to nan, where"),
        (np.where(RAMP > 0.5, np.inf, 0.5).astype(np.float32), "from 0.5 to inf, where"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_tones_that_a_file_does_not_tell_are_refused_at_planning(tmp_path, values, told):
    PIL.Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UserError) as refused:
        images.identify(tmp_path / "a.tif")
    assert str(refused.value).startswith(f"image={tmp_path / 'a.tif'}: its grey values go {told}")
    assert str(refused.value).endswith("Save it with values of 0–255 in 8 bits, or 0–65535 in 16.")


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LAB", "YCbCr", "RGBA", "LA", "RGBX", "PA"])
def test_the_colours_of_every_mode_are_seen(tmp_path, mode):
    colour = (200, 200, 200) if mode in ("L", "LA") else (255, 255, 255) if mode == "1" else (200, 60, 30)
    picture = PIL.Image.new("RGB", (64, 64), colour)
    picture = picture.convert("P").convert("PA") if mode == "PA" else picture.convert(mode)
    seen = np.asarray(tones.rgb(picture)).astype(int).mean((0, 1))
    # 8 bits of Lab are steps of up to 3 levels; the web's palette is steps of 51
    assert np.abs(seen - colour).max() <= (26 if mode in ("P", "PA") else 3)


def test_a_wide_gamut_is_converted_to_srgb_and_a_broken_profile_is_none(tmp_path):
    lab, plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), (200, 60, 30)
    swapped = swapped_primaries()
    for profile, seen in ((swapped, (60, 200, 30)), (lab, plain), (b"no profile", plain)):
        path = tmp_path / f"{len(profile)}.png"
        PIL.Image.new("RGB", (64, 64), plain).save(path, icc_profile=profile)
        assert np.abs(opened(path).mean((0, 1)) - seen).max() <= 3  # a matrix of 16 bits


def swapped_primaries() -> bytes:
    """A profile in which red and green have changed places: sRGB's own with the names of two tags swapped."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    return data.replace("sRGB built-in".encode("utf-16-be"), "swapped one..".encode("utf-16-be"))


def test_an_animation_is_its_first_frame(tmp_path):
    frames = [PIL.Image.new("RGB", (64, 64), colour) for colour in ("red", "lime")]
    for suffix in ("gif", "webp", "png", "tif"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert images.look(path).frames == 2
        assert np.abs(opened(path)[0, 0] - (255, 0, 0)).max() <= 3  # WebP is not exact


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA", "I;16"])
def test_a_large_picture_is_averaged_down_and_looks_the_same(monkeypatch, mode):
    picture = PIL.Image.radial_gradient("L").resize((400, 400))
    if mode == "I;16":
        picture = PIL.Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture = picture.convert(mode)
    whole = np.asarray(tones.rgb(picture).resize((40, 40), PIL.Image.Resampling.BOX)).astype(int)
    monkeypatch.setattr(tones, "LARGE_PX", 40_000)
    small = tones.rgb(picture)
    assert small.size == (200, 200)
    assert (
        np.abs(np.asarray(small.resize((40, 40), PIL.Image.Resampling.BOX)) - whole).max() <= 1
    )  # rounded twice
