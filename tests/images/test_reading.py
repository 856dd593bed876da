"""Planning reads a picture whole: what is cut short, too large or no picture is refused in one sentence."""

import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from svdsweep import images
from svdsweep.config import Image
from svdsweep.errors import UserError
from svdsweep.images import reading

NOISE = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif", "bmp", "ppm", "tga"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_picture_cut_short_is_seen_at_planning(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    NOISE.save(path)
    assert images.look(path).width == 96
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match="cannot be read as a picture") as refused:
        images.identify(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="cannot be read as a picture"):
        images.open_image(Image(path=str(path)), 64, 64)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.png", b"", "it is empty"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "in no format that Pillow opens"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "save it anew, as PNG or JPEG"),
        ("a.pdf", b"%PDF-1.4\n%%EOF", "in no format that Pillow opens"),
        (
            "a.eps",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n",
            "in no format that",
        ),
    ],
)
def test_what_is_no_picture_is_told_with_what_to_do(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told) as refused:
        images.identify(tmp_path / name)
    assert str(refused.value).startswith(f"image={tmp_path / name}: this file cannot be read as a picture: ")


def test_the_preview_in_a_cameras_raw_file_is_not_taken_for_the_picture(tmp_path):
    NOISE.save(tmp_path / "a.nef", format="TIFF")
    with pytest.raises(UserError, match="save it anew, as PNG or JPEG"):
        images.identify(tmp_path / "a.nef")


def test_a_picture_above_the_limit_is_refused_and_one_below_opens_in_silence(tmp_path, monkeypatch, recwarn):
    NOISE.save(tmp_path / "a.png")
    before = PIL.Image.MAX_IMAGE_PIXELS
    for limit in (96 * 64 - 1, 100):  # Pillow warns of the first and refuses the second
        monkeypatch.setattr(reading, "LARGEST_PX", limit)
        with pytest.raises(UserError, match="too large: up to 0 million pixels are opened, within 4 GiB"):
            images.open_image(Image(path=str(tmp_path / "a.png")), 64, 64)
    monkeypatch.setattr(reading, "LARGEST_PX", 96 * 64)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    images.look(tmp_path / "a.png")
    assert not recwarn.list
    monkeypatch.undo()
    assert before == PIL.Image.MAX_IMAGE_PIXELS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the peak of memory as Linux does")
def test_a_picture_of_a_hundred_million_pixels_opens_within_a_gibibyte(tmp_path):
    PIL.Image.new("L", (11000, 9000), 128).save(tmp_path / "a.png", compress_level=1)
    asked = f"""
import re
from pathlib import Path
from svdsweep import images
from svdsweep.config import Image
path = Path({str(tmp_path / "a.png")!r})
images.identify(path)
print(images.open_image(Image(path=str(path)), 64, 64).getpixel((9, 9)))
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, encoding="utf-8", check=True)
    colour, peak_kib = done.stdout.splitlines()
    assert colour == "(128, 128, 128)"
    assert int(peak_kib) < 2**20
    assert not done.stderr


def test_a_picture_that_was_written_anew_is_looked_at_anew(tmp_path):
    path = tmp_path / "a.png"
    NOISE.save(path)
    first = images.identify(path)
    NOISE.rotate(180).save(path)
    os.utime(path, ns=(1, 1))
    assert images.identify(path) != first


def test_a_picture_is_as_large_as_it_stands_upright(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "webp", "tif"):
        NOISE.save(tmp_path / f"a.{suffix}", exif=exif)
        seen = images.look(tmp_path / f"a.{suffix}")
        assert (seen.width, seen.height) == (64, 96), suffix
