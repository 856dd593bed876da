"""Videos play at the job's rate with the job's colours, and have all frames or are none; real faults of the encoder."""

import errno
import re
import shutil
import subprocess

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pytest
from broken_ffmpeg import (
    HEARS_HALF,
    KILLED_IN_MID_WRITE,
    LIMITED,
    WITHOUT_THE_ENCODER,
    needs_sh,
    put_in_place,
)

from svdsweep.images import ffmpeg
from svdsweep.images.ffmpeg import FfmpegFailed, frames_in
from svdsweep.store.files import renamed_when_done
from svdsweep.worker import media
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


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (4, "3"), (64, "4")])
def test_a_video_is_encoded_by_the_cores_that_judging_leaves(tmp_path, monkeypatch, cores, threads):
    asked = []
    monkeypatch.setattr(media, "run", lambda words, *data: (asked.append(words), ffmpeg.run(words, *data)))
    write_video(tmp_path / "a.mp4", clip(), 7, cores)
    encoding = asked[0]
    assert encoding[encoding.index("-threads") + 1] == threads
    assert encoding.index("-threads") > encoding.index("-i"), "of the encoder, not of what is read"
    assert frames_in(tmp_path / "a.mp4") == 14


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


def noise(height=64, width=64, count=25):
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), np.uint8)


@needs_sh
@pytest.mark.parametrize("size", [(64, 64), (576, 1024)])
def test_an_encoder_that_is_killed_in_mid_write_leaves_no_video_and_is_named(tmp_path, monkeypatch, size):
    frames, path = noise(*size), tmp_path / "videos" / "a.mp4"
    put_in_place(monkeypatch, tmp_path, KILLED_IN_MID_WRITE)
    why = ""
    for _ in range(50):  # a small video may be done before the kill comes: then it is whole
        try:
            write_video(path, frames, fps=7)
        except FfmpegFailed as e:
            why = str(e)
            break
        assert frames_in(path) == 25
        path.unlink()
    assert why == "ffmpeg ended: killed by SIGKILL"
    assert list(path.parent.iterdir()) == []


@needs_sh
def test_a_limit_of_file_sizes_is_told_as_what_it_is(tmp_path, monkeypatch):
    put_in_place(monkeypatch, tmp_path, LIMITED)
    with pytest.raises(OSError, match=r"ulimit -f.* killed by SIGXFSZ") as e:
        write_video(tmp_path / "videos" / "a.mp4", noise(), fps=7)
    assert e.value.errno == errno.EFBIG
    assert list((tmp_path / "videos").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not mount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root on Linux only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("side", [64, 128], ids=["full at its end", "full in the middle"])
def test_a_full_disk_is_told_as_what_it_is(small_disk, side):
    with pytest.raises(OSError, match="No space left on device") as e:
        write_video(small_disk / "a.mp4", noise(side, side), fps=7)
    assert e.value.errno == errno.ENOSPC
    assert list(small_disk.iterdir()) == []


@needs_sh
@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (WITHOUT_THE_ENCODER, r"ffmpeg ended: exit code \d+: .*Unknown encoder 'libx999'"),
        (HEARS_HALF, "ffmpeg wrote 12 of 25 frames and ended as if it had written all"),
        ("exit 3", "ffmpeg ended: exit code 3"),
        ("exit 0", "ffmpeg wrote 0 of 25 frames and ended as if it had written all"),
    ],
    ids=["no encoder", "half", "dies", "does nothing"],
)
def test_however_an_encoder_fails_there_is_no_video_and_a_cause(tmp_path, monkeypatch, script, cause):
    put_in_place(monkeypatch, tmp_path, script)
    with pytest.raises((FfmpegFailed, OSError), match=cause):
        write_video(tmp_path / "videos" / "a.mp4", noise(), fps=7)
    assert list((tmp_path / "videos").iterdir()) == []


def test_a_program_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    with pytest.raises(FfmpegFailed, match=r"ffmpeg does not start .*nowhere"):
        write_video(tmp_path / "a.mp4", clip(), fps=7)


def test_a_video_that_breaks_off_anywhere_has_fewer_frames(tmp_path):
    write_video(tmp_path / "a.mp4", noise(), fps=7)
    whole = (tmp_path / "a.mp4").read_bytes()
    for cut, frames in ((1, 24), (len(whole) // 2, 12)):
        (tmp_path / "a.mp4").write_bytes(whole[:-cut])
        assert frames_in(tmp_path / "a.mp4") == frames
