"""What `montage` reads from its command line, and what it says."""

import made_up
import numpy as np
import pytest

from svdsweep import cli
from svdsweep.store.rows import Store
from svdsweep.worker.media import write_video


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two seeds and two buckets, of which one job has a video."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    for seed in range(2):
        for bucket in (60, 120):
            job = made_up.job(seed=seed, motion_bucket_id=bucket, num_frames=2, height=32, width=48)
            video = {} if seed or bucket > 60 else {"video": f"videos/{job.key}.mp4"}
            Store(folder, "bench-1").append(made_up.ok(job, **video))
            if video:
                write_video(folder / video["video"], np.zeros((2, 32, 48, 3), np.uint8), 7)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["--rows", "seed", "--columns", "motion_bucket_id", "OUT"],
        ["OUT", "--where", "seed=0"],
        ["--where", "seed=0", "motion_bucket_id=60", "OUT"],
    ],
)
def test_settings_and_the_file_may_stand_in_any_order(sweep, tmp_path, capsys, words):
    target = tmp_path / "a=b" / "sheet.png"
    asked = [str(target) if word == "OUT" else word for word in words]
    assert cli.main(["montage", str(sweep), *asked, "--frames", "0,1"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"montage  {target}")
    assert target.stat().st_size
    assert ("no video kept" in said.err) is ("motion_bucket_id=60" not in words)


def test_without_a_file_it_is_written_where_the_page_shows_it(sweep, capsys):
    assert cli.main(["montage", str(sweep), "--cell", "32"]) == 0
    assert "2 × 2 cells, 2 frames at 7 a second" in capsys.readouterr().out
    assert (sweep / "montage.mp4").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "0 names were given"),
        (["SWEEP", "a.mp4", "b.mp4"], "3 names were given"),
        (["SWEEP", "a.avi"], "ends in .mp4, .webp, .gif or .png"),
        (["nowhere", "a.mp4"], "no such folder"),
        (["SWEEP", "a.png", "--frames", "0,x"], "give numbers of frames"),
        (["SWEEP", "a.mp4", "--where", "sed=0"], "Did you mean seed"),
        (["SWEEP", "a.mp4", "--row", "seed"], "Did you mean --rows"),
    ],
)
def test_wrong_words_are_refused_in_a_sentence(sweep, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["montage", *(str(sweep) if word == "SWEEP" else word for word in words)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
