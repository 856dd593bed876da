"""A folder and a glob mean the pictures in them, whatever else is there, and what they left out is told."""

import PIL.Image
import pytest

from svdsweep import images
from svdsweep.errors import UserError
from svdsweep.images.reading import endings


@pytest.fixture
def folder(tmp_path):
    def save(name):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (16, 16), "red").save(tmp_path / name)

    for name in ("a.png", "b.JPG", "c.gif", "d.ppm", "inside/e.png"):
        save(name)
    return tmp_path


def names(value):
    return [path.name for path in images.files_of(str(value))]


def test_a_folder_goes_on_past_what_is_no_picture_and_says_what_it_left_out(folder):
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    (folder / "half.png").write_bytes((folder / "a.png").read_bytes()[:40])
    assert names(folder) == ["a.png", "b.JPG", "c.gif", "d.ppm"]
    told = images.left_out(str(folder))
    assert told.startswith(
        f"image={folder}: 4 left out, no pictures that can be used: ._a.png (hidden), half.png (this file cannot be "
    )
    assert told.endswith("), inside (a folder), notes.txt (Pillow opens no .txt).")


def test_of_many_files_left_out_the_first_are_named(folder):
    for number in range(9):
        (folder / f"{number}").touch()
    assert images.left_out(str(folder)).endswith("3 (no ending), 4 (no ending) and 5 more.")


def test_nothing_is_told_where_nothing_was_left_out(folder):
    assert images.left_out(str(folder / "inside")) is None
    assert images.left_out(str(folder / "a.png")) is None
    assert images.left_out("rocket") is None


def test_a_folder_called_like_a_picture_and_a_link_to_nothing_are_none(folder):
    (folder / "x.png").mkdir()
    try:
        (folder / "y.png").symlink_to(folder / "gone.png")
    except OSError:
        pytest.skip("this user may not make links")
    assert names(folder) == ["a.png", "b.JPG", "c.gif", "d.ppm"]
    assert "x.png (a folder), y.png (a link to nothing)." in images.left_out(str(folder))
    with pytest.raises(UserError, match=r"this is a link to .*gone\.png, and there is no such file"):
        images.locate(str(folder / "y.png"))


def test_a_folder_without_pictures_is_refused_with_what_it_holds(folder):
    for name in ("a.png", "b.JPG", "c.gif", "d.ppm"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"image='FOLDER/\*/\*'. Left out: inside \(a folder\)\.$"):
        images.files_of(str(folder))
    assert names(folder / "*" / "*") == ["e.png"]


@pytest.mark.parametrize("name", ["a[1].png", "photo [b].png", "[a-c].png"])
def test_a_file_whose_name_looks_like_a_glob_is_a_file_first(folder, name):
    PIL.Image.new("RGB", (16, 16)).save(folder / name)
    assert names(folder / name) == [name]
    assert names(folder / "*.png") == sorted(["a.png", name])
    assert names(folder / "[ab].*") == ["a.png", "b.JPG"]


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder_first(folder):
    (folder / "[1]").mkdir()
    PIL.Image.new("RGB", (16, 16)).save(folder / "[1]" / "f.png")
    assert names(folder / "[1]" / "*.png") == ["f.png"]
    assert names(folder / "[1]") == ["f.png"]


def test_a_glob_passes_over_hidden_files_and_folders(folder):
    (folder / ".cache").mkdir()
    PIL.Image.new("RGB", (16, 16)).save(folder / ".cache" / "f.png")
    assert names(folder / "**" / "*.png") == ["a.png", "e.png"]


def test_a_picture_without_an_ending_is_a_file(folder, monkeypatch):
    (folder / "a.png").rename(folder / "photo")
    monkeypatch.chdir(folder)
    assert images.expand("photo") == [str(folder / "photo")]
    assert images.is_file_name("photo")


def test_every_ending_that_pillow_opens_counts_and_none_that_other_programs_open():
    assert {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".ppm", ".tga"} <= endings()
    assert not endings() & {".eps", ".ps", ".pdf", ".wmf", ".h5", ".mpg", ".txt"}
