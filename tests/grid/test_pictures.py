"""A video takes the shape of its picture under `auto`, and what a picture loses on its way is told."""

import PIL.Image
import pytest

from svdsweep.config.keys import canonical
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand, expand_without_weights

SHAPES = {"landscape": (1600, 900), "portrait": (900, 1600), "square": (700, 700), "photo": (1500, 1000)}
SHAPES |= {"long": (2000, 40)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    for name, size in SHAPES.items():
        PIL.Image.new("RGB", size, "red").save(path / f"{name}.png")
    return path


def sizes(*settings):
    return {job.image.name: (job.width, job.height) for job in expand_without_weights(settings).jobs}


def test_each_picture_gets_a_video_of_its_shape_at_the_models_area(folder):
    assert sizes("model=svd_xt", f"image={folder}", "height=auto", "width=auto") == {
        "landscape": (1024, 576),
        "portrait": (576, 1024),
        "square": (768, 768),
        "photo": (896, 640),
        "long": (1536, 384),
    }


def test_the_embedded_models_videos_are_multiples_of_16(folder):
    assert sizes(f"image={folder}", "height=auto", "width=auto") == {
        "landscape": (80, 48),
        "portrait": (48, 80),
        "square": (64, 64),
        "photo": (80, 48),
        "long": (128, 32),
    }


def test_one_side_follows_from_the_other(folder):
    svd = ("model=svd", f"image={folder}")
    assert sizes(*svd, "width=auto")["portrait"] == (320, 576)
    assert sizes(*svd, "height=auto", "width=512")["portrait"] == (512, 896)
    assert sizes(*svd, "height=auto", "width=${height}")["portrait"] == (576, 1024)
    assert sizes(*svd, "height=64", "width=auto")["long"] == (256, 64)


def test_auto_is_the_same_job_as_its_numbers_and_so_is_its_baseline(folder):
    picture = f"image={folder / 'portrait.png'}"
    auto = expand([picture, "height=auto", "width=auto", "memory=under_8gb,baseline"])
    numbers = expand([picture, "height=80", "width=48", "memory=under_8gb,baseline"])
    assert auto.jobs == numbers.jobs
    assert auto.jobs[0].baseline == auto.jobs[1].key
    assert [job.height for job in expand([picture, "height=auto,64", "width=auto"]).jobs] == [80, 64]


def test_a_preset_may_say_auto_but_not_the_models_own(folder, tmp_path):
    for group in ("experiment", "model"):
        (tmp_path / group).mkdir()
        text = "# @package _global_\nheight: auto\nwidth: auto\n"
        (tmp_path / group / "mine.yaml").write_text(text, encoding="utf-8")
    picture = f"image={folder / 'portrait.png'}"
    (job,) = expand([picture, "+experiment=mine"], str(tmp_path)).jobs
    assert (job.width, job.height) == (48, 80)
    with pytest.raises(UserError, match="model=mine: its preset says height or width auto"):
        expand([picture, "model=mine"], str(tmp_path))


def warned(folder, names, *settings):
    files = ",".join(f"{folder}/{name}.png" for name in names.split())
    return expand_without_weights([f"image={files}", *settings]).warnings


CURES = "image.fit=pad keeps all of it, height=auto width=auto gives the video its shape."


def test_a_portrait_in_a_landscape_video_is_told_with_how_much_is_cut(folder):
    assert warned(folder, "portrait landscape", "model=svd") == [
        f"To fill 1024×576, much is cut off: portrait (68 %). {CURES}"
    ]
    assert not warned(folder, "portrait landscape photo", "model=svd", "height=auto", "width=auto")
    assert not warned(folder, "portrait landscape", "model=svd", "image.fit=pad")


def test_of_many_pictures_the_first_are_named(folder):
    assert warned(folder, "landscape portrait square photo long", "width=128") == [
        "To fill 128×64, much is cut off: portrait (71 %), square (50 %), photo (25 %). " + CURES,
        "To fill 128×64, much is cut off: long (96 %). image.fit=pad keeps all of it.",
    ]


def test_a_stretched_picture_is_told_with_how_much(folder):
    assert warned(folder, "portrait", "model=svd", "image.fit=stretch") == [
        f"To fill 1024×576, shapes are distorted: portrait (3.2 times as wide). {CURES}"
    ]


@pytest.mark.parametrize("fits", ["crop,stretch,pad", "pad,stretch,crop"])
def test_each_fit_of_a_picture_is_told_what_it_loses(folder, fits):
    assert sorted(warned(folder, "portrait", "model=svd", f"image.fit={fits}")) == [
        f"To fill 1024×576, much is cut off: portrait (68 %). {CURES}",
        f"To fill 1024×576, shapes are distorted: portrait (3.2 times as wide). {CURES}",
    ]


def test_each_size_of_a_video_is_told_what_it_loses(folder):
    assert warned(folder, "landscape", "height=64,128", "width=64,256") == [
        f"To fill {size}, much is cut off: landscape ({share} %). {CURES}"
        for size, share in (("64×64", 43), ("256×64", 55), ("64×128", 71))
    ]


def test_what_is_hardly_a_picture_is_told(tmp_path):
    PIL.Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    frames = [PIL.Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert expand([f"image={tmp_path}"]).warnings == [
        "To fill 64×64, what is seen is enlarged to a blur: dot (64 times).",
        "Nearly black throughout: dot (brightest level 0 of 255).",
        "Only the first frame is used: film (2 frames).",
    ]


def test_what_a_folder_left_out_is_told_once(folder, tmp_path):
    PIL.Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    (tmp_path / "._a.png").touch()
    assert expand([f"image={tmp_path}", "seed=0,1"]).warnings == [
        f"image={tmp_path}: 1 left out, no pictures that can be used: ._a.png (hidden)."
    ]


def test_two_fits_of_a_picture_are_one_picture_in_two_columns(folder):
    grid = expand([f"image={folder / 'square.png'}", "image.fit=crop,pad"])
    assert [(job.image.name, job.image.fit) for job in grid.jobs] == [("square", "crop"), ("square", "pad")]
    assert "fit" not in canonical(grid.jobs[0].image)
