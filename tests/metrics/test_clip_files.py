"""Which files of a folder are a clip, in which order its frames come, and one sentence for what is none."""

import numpy as np
import pytest
from broken_ffmpeg import TELLS_HALF, needs_sh, put_in_place
from PIL import Image

from svdsweep.errors import UserError
from svdsweep.metrics.shared.files import clips_in, in_order, read

GREYS = [np.full((16, 24, 3), level, np.uint8) for level in (10, 90, 170, 250)]


def save(folder, **pictures):
    """Pictures as PNG by their names; sizes are (width, height)."""
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


def refusal(path):
    with pytest.raises(UserError) as e:
        read(path, 9)
    return str(e.value).replace(str(path), "PATH")


def test_numbers_in_names_are_numbers_in_the_order(tmp_path):
    names = [
        "1²2.png",
        "b2.png",
        "frame_10.png",
        "frame_2.png",
        "2_a.png",
        "10_a.png",
        "frame_2_b.png",
        "b.png",
    ]
    ordered = sorted((tmp_path / name for name in names), key=in_order)
    assert [path.name for path in ordered] == [
        *("1²2.png", "2_a.png", "10_a.png", "b2.png", "b.png", "frame_2.png", "frame_2_b.png", "frame_10.png")
    ]


def test_a_file_is_a_clip_and_a_folder_holds_its_videos_or_is_one(tmp_path):
    with pytest.raises(UserError) as e:
        clips_in(tmp_path / "absent")
    assert str(e.value) == f"{tmp_path / 'absent'}: there is no such file or folder."
    (tmp_path / "note.txt").touch()
    with pytest.raises(UserError) as e:
        clips_in(tmp_path)
    assert str(e.value).startswith(f"{tmp_path}: this folder holds neither pictures (")
    assert ".png, " in str(e.value)
    assert clips_in(tmp_path / "note.txt") == [tmp_path / "note.txt"]
    save(tmp_path, frame=GREYS[0])
    assert clips_in(tmp_path) == [tmp_path]
    for name in ("10.MP4", "9.gif"):
        (tmp_path / name).touch()
    assert clips_in(tmp_path) == [tmp_path / "9.gif", tmp_path / "10.MP4"]
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "1.mp4").touch()
    assert clips_in(tmp_path) == [tmp_path / "videos" / "1.mp4"]


@pytest.mark.parametrize(("at_most", "count", "cut_short"), [(2, 2, True), (3, 3, False), (4, 3, False)])
def test_the_first_pictures_of_a_folder_are_read_in_order(tmp_path, at_most, count, cut_short):
    save(tmp_path, frame_2=GREYS[0], frame_10=GREYS[2], frame_9=GREYS[1])
    Image.fromarray(GREYS[3]).save(tmp_path / "frame_1.txt", format="png")
    clip = read(tmp_path, at_most)
    assert clip.frames.tolist() == np.stack(GREYS[:count]).tolist()
    assert clip.frames.dtype == np.uint8
    assert clip.cut_short is cut_short


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (GREYS[1][..., 0], "PATH/2.png: this frame is grey, and frames must be RGB: convert them all first."),
        (
            np.concatenate([GREYS[1], GREYS[1][..., :1]], -1),
            "PATH/2.png: this frame is RGBA (it has transparency), and frames must be RGB: convert them all first.",
        ),
        (
            GREYS[1][..., 0] > 99,
            "PATH/2.png: this frame is 1, and frames must be RGB: convert them all first.",
        ),
        (
            GREYS[1][:8],
            "PATH/2.png: this frame is 24×8 and the first is 24×16; all frames must be of one size.",
        ),
    ],
    ids=["grey", "transparent", "black and white", "low"],
)
def test_a_frame_of_another_kind_or_size_is_refused_in_a_sentence(tmp_path, second, sentence):
    save(tmp_path, **{"1": GREYS[0], "2": second})
    assert refusal(tmp_path).replace("\\", "/") == sentence


def test_a_folder_without_two_whole_pictures_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "clip").mkdir()
    assert refusal(tmp_path / "clip") == "PATH: there are no frames in it."
    save(tmp_path / "clip", **{"1": GREYS[0]})
    one = "PATH: there is only one frame in it, and consistency needs at least two."
    assert refusal(tmp_path / "clip") == one
    Image.fromarray(GREYS[1]).convert("P").save(tmp_path / "clip" / "2.png")
    assert "this frame is a palette picture, and" in refusal(tmp_path / "clip")
    (tmp_path / "clip" / "2.png").write_bytes(b"no picture")
    assert refusal(tmp_path / "clip").endswith("2.png: this file cannot be read as a picture.")
    whole = (tmp_path / "clip" / "1.png").read_bytes()
    (tmp_path / "clip" / "2.png").write_bytes(whole[:-30])
    assert refusal(tmp_path / "clip").endswith("2.png: this file cannot be read as a picture.")


def test_a_file_that_is_no_video_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert refusal(tmp_path / "empty.mp4") == "PATH: this file is empty."
    (tmp_path / "noise.mp4").write_bytes(b"\0" * 5000)
    assert refusal(tmp_path / "noise.mp4") == "PATH: this file cannot be read as a video."


@needs_sh
def test_a_video_whose_reader_died_is_no_short_clip(tmp_path, monkeypatch):
    first, *others = map(Image.fromarray, [grey.repeat(8, 0).repeat(8, 1) for grey in GREYS])
    first.save(tmp_path / "clip.gif", save_all=True, append_images=others)
    put_in_place(monkeypatch, tmp_path, TELLS_HALF)
    assert (
        refusal(tmp_path / "clip.gif")
        == "PATH: this file has not been read: ffmpeg ended: killed by SIGKILL."
    )
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    assert "ffmpeg does not start" in refusal(tmp_path / "clip.gif")


def test_what_follows_the_frames_that_are_asked_for_is_not_read(tmp_path):
    save(tmp_path, **{str(t): grey for t, grey in enumerate(GREYS)})
    (tmp_path / "3.png").write_bytes(b"no picture")
    assert read(tmp_path, 2).cut_short


def test_a_video_has_each_coded_frame_once_however_long_it_is_shown(tmp_path):
    first, *others = map(Image.fromarray, GREYS)
    first.save(tmp_path / "clip.gif", save_all=True, append_images=others, duration=[100, 100, 700, 100])
    clip = read(tmp_path / "clip.gif", 9)
    assert clip.frames.shape == (4, 16, 24, 3)
    assert clip.frames.mean((1, 2, 3)) == pytest.approx([10, 90, 170, 250], abs=2)
    assert not clip.cut_short
    assert read(tmp_path / "clip.gif", 3).cut_short
