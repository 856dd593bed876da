"""Which files of a sweep are opened, and which a row may name."""

import os

import pytest

from svdsweep.errors import UserError
from svdsweep.store.places import file_of, files_in, may_be_named, read_plain, refuse_links, strange


@pytest.fixture
def folder(tmp_path):
    """A sweep's folder with a plain video, a link, a pipe, and a place that is a link."""
    videos, elsewhere = tmp_path / "sweep" / "videos", tmp_path / "elsewhere"
    for made in (videos, elsewhere):
        made.mkdir(parents=True)
        (made / "plain.mp4").write_bytes(b"film")
    (elsewhere / "a.png").write_bytes(b"secret")
    (videos / "link.mp4").symlink_to(elsewhere / "a.png")
    os.mkfifo(videos / "pipe.mp4")
    (videos / "notes.txt").write_text("of no use", encoding="utf-8")
    (tmp_path / "sweep" / "sheets").symlink_to(elsewhere)
    return tmp_path / "sweep"


def test_links_pipes_and_what_lies_behind_a_link_are_passed_by_and_told(folder):
    assert [path.name for path in files_in(folder, "videos")] == ["plain.mp4"]
    assert files_in(folder, "sheets") == files_in(folder, "logs") == []
    assert strange(folder) == ["sheets", "videos/link.mp4", "videos/pipe.mp4"]
    assert file_of(folder, "videos", "plain") == folder / "videos" / "plain.mp4"
    assert [
        file_of(folder, *what) for what in (("videos", "link"), ("videos", "x"), ("sheets", "a"))
    ] == 3 * [None]


@pytest.mark.parametrize("name", ["videos/plain.mp4", "videos/missing.mp4", "baselines/waiting/0a1b.npz"])
def test_a_row_may_name_files_of_its_sweep_also_missing_ones(folder, name):
    assert may_be_named(name, strange(folder))


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "/tmp/x.mp4", "videos/../../x.mp4", "../videos/x.mp4", "videos//x.mp4", "./videos/x.mp4"),
        *("//host/share/x.mp4", "\\\\host\\share\\x.mp4", "C:/x.mp4", "C:x.mp4", "file:///etc/passwd", "http://x/y.mp4"),
        *("videos/x.png", "videos/.mp4", "videos/.x.mp4", "videos/x.mp4\n", "videos/x\0.mp4", "x.mp4", "rows/a.jsonl"),
        *("sheets/a.png", "videos/link.mp4", "videos/pipe.mp4", "logs/a.log", "videos", "", None, 5, ["videos/x.mp4"]),
    ],
)  # fmt: skip
def test_a_row_may_name_nothing_else(folder, name):
    assert not may_be_named(name, strange(folder))


def test_only_plain_files_of_bounded_size_are_read_whole(folder, monkeypatch):
    assert read_plain(folder / "videos" / "plain.mp4") == b"film"
    for name in ("link.mp4", "pipe.mp4", "missing.mp4"):
        with pytest.raises(OSError):
            read_plain(folder / "videos" / name)
    monkeypatch.setattr("svdsweep.store.places.LARGEST_BYTES", 3)
    with pytest.raises(OSError):
        read_plain(folder / "videos" / "plain.mp4")


def test_nothing_is_written_to_a_sweep_with_links_for_folders(folder):
    with pytest.raises(UserError, match="sheets is a link"):
        refuse_links(folder)
    (folder / "sheets").unlink()
    refuse_links(folder)
