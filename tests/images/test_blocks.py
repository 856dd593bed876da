"""A preview is drawn in blocks, two pixels a character; what is none draws nothing."""

from pathlib import Path

from PIL import Image

from svdsweep.images.blocks import blocks


def test_a_character_has_the_colours_of_two_pixels(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.putdata([(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)])
    picture.save(tmp_path / "p.png")
    above_below = "\x1b[38;2;1;2;3;48;2;7;8;9m▀\x1b[38;2;4;5;6;48;2;10;11;12m▀\x1b[0m"
    assert blocks(tmp_path / "p.png", columns=80) == above_below
    assert blocks(tmp_path / "p.png", columns=1).count("▀") == 1


def test_what_is_no_small_png_draws_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "jpeg.png", "JPEG")
    Image.new("1", (5000, 1)).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "large.png").write_bytes(bytes(2**23))
    for name in ("jpeg.png", "wide.png", "text.png", "large.png", "none.png"):
        assert blocks(tmp_path / name, 80) == "", name
