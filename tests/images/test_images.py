"""Conditioning images of every kind reach the pipeline as RGB of the right size; the rest is refused."""

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest
from PIL.Image import Transpose as Turn

from svdsweep import images
from svdsweep.config import Image
from svdsweep.errors import UserError

PACKAGED = sorted(p for p in images.PACKAGED.iterdir() if p.suffix in images.SUFFIXES)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda p: p.name)
def test_packaged_pictures_open_and_their_licence_is_recorded(path):
    picture = images.open_image(Image(path=path.name, sha256=images.identify(path)), height=64, width=128)
    assert (picture.size, picture.mode) == ((128, 64), "RGB")
    text = (images.PACKAGED / "README.md").read_text(encoding="utf-8")
    assert path.name in text or path.stem.rstrip("0123456789") in text


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1", "CMYK", "LA"])
def test_other_modes_become_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    PIL.Image.new(mode, (90, 70)).save(tmp_path / f"a.{suffix}")
    assert images.open_image(Image(path=str(tmp_path / f"a.{suffix}")), 64, 64).mode == "RGB"


def test_transparent_parts_are_white(tmp_path):
    PIL.Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert images.open_image(Image(path=str(tmp_path / "a.png")), 64, 64).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("orientation", "held"), [(1, None), (3, Turn.ROTATE_180), (6, Turn.ROTATE_90), (8, Turn.ROTATE_270)]
)
def test_a_picture_is_turned_as_its_camera_was_held(tmp_path, orientation, held):
    upright = PIL.Image.new("RGB", (96, 64), "red")
    upright.paste("blue", (0, 0, 96, 32))
    tag = PIL.Image.Exif()
    tag[PIL.ExifTags.Base.Orientation] = orientation
    stored = upright.transpose(held) if held is not None else upright
    stored.save(tmp_path / "a.png", exif=tag)
    opened = images.open_image(Image(path=str(tmp_path / "a.png")), height=64, width=96)
    assert np.array_equal(opened, upright)


def test_cropping_is_about_the_centre(tmp_path):
    stripes = np.zeros((60, 180, 3), np.uint8)
    stripes[:, 60:120] = 255
    PIL.Image.fromarray(stripes).save(tmp_path / "a.png")
    opened = np.asarray(images.open_image(Image(path=str(tmp_path / "a.png")), 60, 60))
    assert opened.min() == 255


def test_a_picture_is_resized_by_lanczos(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "a.png")
    opened = images.open_image(Image(path=str(tmp_path / "a.png")), height=32, width=48)
    assert np.array_equal(opened, PIL.Image.fromarray(noise).resize((48, 32), PIL.Image.Resampling.LANCZOS))


def test_a_picture_of_ones_own_comes_before_the_packaged_one_of_its_name(tmp_path, monkeypatch):
    PIL.Image.new("RGB", (64, 64), "white").save(tmp_path / "rocket.jpg")
    monkeypatch.chdir(tmp_path)
    opened = np.asarray(images.open_image(Image(path="rocket.jpg"), 64, 64))
    assert opened.min() == 255


def test_a_picture_changed_since_the_plan_is_refused(tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (64, 64), "red").save(path)
    with pytest.raises(UserError, match="changed"):
        images.open_image(Image(path=str(path), sha256="0" * 64), 64, 64)


def test_what_is_no_picture_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        images.identify(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read as a picture"):
        images.identify(path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no pictures there"):
        images.expand(str(tmp_path))


def test_a_padded_picture_is_whole_between_black_bars(tmp_path):
    PIL.Image.new("RGB", (40, 80), "white").save(tmp_path / "a.png")
    opened = np.asarray(
        images.open_image(Image(path=str(tmp_path / "a.png"), fit="pad"), height=64, width=128)
    )
    assert opened[:, 48:80].min() == 255
    assert opened[:, :48].max() == opened[:, 80:].max() == 0


def test_a_stretched_picture_fills_the_video(tmp_path):
    halves = PIL.Image.new("RGB", (40, 80), "white")
    halves.paste("black", (0, 0, 40, 40))
    halves.save(tmp_path / "a.png")
    opened = np.asarray(images.open_image(Image(path=str(tmp_path / "a.png"), fit="stretch"), 64, 128))
    assert (opened[:28].max(), opened[36:].min()) == (0, 255)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (2000, 1), (1, 2000)])
def test_the_thinnest_picture_opens(tmp_path, fit, size):
    PIL.Image.new("RGB", size, "white").save(tmp_path / "a.png")
    opened = np.asarray(images.open_image(Image(path=str(tmp_path / "a.png"), fit=fit), 64, 64))
    assert opened.shape == (64, 64, 3)
    assert opened.max() == 255
