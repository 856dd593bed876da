"""Videos play at the job's rate with the job's colours; nothing half-written is left behind."""

import re
import subprocess

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pytest

from svdsweep.store.files import renamed_when_done
from svdsweep.worker.media import write_contact_sheet, write_video


def clip(count=14, height=64, width=128):
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    frames[..., 1] = np.linspace(0, 200, count, dtype=np.uint8)[:, None, None]
    return frames


def test_a_video_has_every_frame_the_rate_and_the_codec_that_players_know(tmp_path):
    write_video(tmp_path / "a.mp4", clip(), fps=11)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(reader)
    assert (about["codec"], about["fps"], tuple(about["size"])) == ("h264", 11.0, (128, 64))
    assert about["pix_fmt"].startswith("yuv420p")
    assert sum(1 for _ in reader) == 14


def test_colours_come_back_within_what_compression_costs(tmp_path):
    frames = clip()
    write_video(tmp_path / "a.mp4", frames, fps=7)
    reader = imageio_ffmpeg.read_frames(
        str(tmp_path / "a.mp4"), output_params=["-vf", "scale=in_color_matrix=bt709"]
    )
    next(reader)
    back = np.stack([np.frombuffer(f, np.uint8).reshape(64, 128, 3) for f in reader])
    assert np.abs(back.astype(int) - frames).mean() < 2.5


def test_the_stream_says_which_colours_it_has(tmp_path):
    write_video(tmp_path / "a.mp4", clip(), fps=7)
    tool = imageio_ffmpeg.get_ffmpeg_exe()
    said = subprocess.run(
        [tool, "-i", str(tmp_path / "a.mp4")], capture_output=True, encoding="utf-8", check=False
    ).stderr
    assert re.search(r"yuv420p\(.*bt709", said)


def test_a_contact_sheet_shows_every_frame_in_its_proportions(tmp_path):
    frames = np.zeros((14, 64, 96, 3), np.uint8)
    frames[:] = np.arange(10, 150, 10, dtype=np.uint8)[:, None, None, None]
    write_contact_sheet(tmp_path / "a.png", frames)
    sheet = np.asarray(PIL.Image.open(tmp_path / "a.png"))
    assert set(range(10, 150, 10)) <= set(np.unique(sheet))
    assert sheet.shape[1] <= 1300
    first = sheet[..., 0] == 10
    assert first.any(0).sum() / first.any(1).sum() == pytest.approx(96 / 64, rel=0.02)


@pytest.mark.parametrize(("count", "columns", "rows"), [(14, 7, 2), (25, 5, 5), (16, 7, 3), (3, 3, 1)])
def test_the_frames_of_a_contact_sheet_lie_in_lines_from_left_to_right(tmp_path, count, columns, rows):
    frames = np.zeros((count, 16, 24, 3), np.uint8)
    frames[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    write_contact_sheet(tmp_path / "a.png", frames)
    sheet = np.asarray(PIL.Image.open(tmp_path / "a.png"))[..., 0]
    height, width = (side // parts for side, parts in zip(sheet.shape, (rows, columns), strict=True))
    middles = sheet[height // 2 :: height, width // 2 :: width][:rows, :columns].ravel().tolist()
    assert middles == [*range(count), *[255] * (rows * columns - count)]


@pytest.mark.parametrize(("width", "shades"), [(24, 2), (2560, 1)])
def test_small_frames_are_enlarged_as_they_are_and_large_ones_are_averaged(tmp_path, width, shades):
    frames = np.zeros((1, 8, width, 3), np.uint8)
    frames[:, :, ::2] = 200
    write_contact_sheet(tmp_path / "a.png", frames)
    middle = np.asarray(PIL.Image.open(tmp_path / "a.png"))[:, 100:-100, 0]
    assert len(np.unique(middle)) == shades


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    def write():
        with renamed_when_done(tmp_path / "a.txt") as part:
            part.write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert list(tmp_path.iterdir()) == []
