"""A sweep's videos, laid out and named for VBench-I2V."""

import json
import shlex
from dataclasses import replace

import pytest
from PIL import Image as Pictures

from svdsweep import cli
from svdsweep.config import Image, Job
from svdsweep.errors import UserError
from svdsweep.images import identify, locate
from svdsweep.report.vbench import SAMPLES, export
from svdsweep.store.rows import STATUSES, Row, Store


def sweep(folder, jobs, status="ok"):
    store = Store(folder)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for job in jobs:
        store.append(Row(job, status))
        (folder / "videos" / f"{job.key}.mp4").write_bytes(job.key.encode())
    return folder


def picture(name, shown=None):
    return Image(name=shown or name, path=f"{name}.jpg", sha256=identify(locate(f"{name}.jpg")))


def jobs(images=("rocket", "coffee"), seeds=(7, 3), buckets=(60, 180)):
    return [Job(image=picture(i), seed=s, motion_bucket_id=b) for i in images for s in seeds for b in buckets]


def test_videos_are_named_by_picture_and_counted_by_seed_in_a_folder_a_setting(tmp_path):
    made = jobs()
    commands = export(sweep(tmp_path / "sweep", made), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.txt",
        "motion_bucket_id=180",
        "motion_bucket_id=60",
    ]
    videos = tmp_path / "out" / "motion_bucket_id=60" / "videos"
    assert sorted(p.name for p in videos.iterdir()) == [
        *("coffee-0.mp4", "coffee-1.mp4", "rocket-0.mp4", "rocket-1.mp4")
    ]
    assert len(commands) == 2
    assert "--full_json_dir" in commands[0]
    for command, job in zip(commands, made, strict=False):  # in the order of the jobs, each of its own folder
        cell = tmp_path / "out" / f"motion_bucket_id={job.motion_bucket_id}"
        words = shlex.split(command)
        assert words[3] == str((cell / "videos").resolve())
        assert words[5] == str((cell / "full_info.json").resolve())


def test_the_videos_of_a_picture_are_numbered_by_their_seeds(tmp_path):
    made = jobs(("rocket",), seeds=(9, 7, 300, 11, 1), buckets=(60,))
    export(sweep(tmp_path / "sweep", made), tmp_path / "out")
    videos = [tmp_path / "out" / "all" / "videos" / f"rocket-{n}.mp4" for n in range(5)]
    keys = [job.key for job in sorted(made, key=lambda job: job.seed)]
    assert [video.read_text(encoding="utf-8") for video in videos] == keys


def test_the_json_names_each_picture_as_the_pipeline_saw_it(tmp_path):
    wide = [replace(job, height=64, width=96) for job in jobs(buckets=(60,))]
    export(sweep(tmp_path / "sweep", wide), tmp_path / "out")
    cell = tmp_path / "out" / "all"
    entries = json.loads((cell / "full_info.json").read_text(encoding="utf-8"))
    assert [e["prompt_en"] for e in entries] == ["rocket", "coffee"]
    assert "i2v_subject" in entries[0]["dimension"]
    with Pictures.open(entries[0]["custom_image_path"]) as seen:
        assert seen.size == (96, 64)


def test_two_pictures_of_one_name_are_told_apart(tmp_path):
    two = [Job(image=picture(name, shown="it")) for name in ("rocket", "coffee")]
    alone = Job(image=replace(picture("chelsea"), name=""))
    export(sweep(tmp_path / "sweep", [*two, alone]), tmp_path / "out")
    names = sorted(p.name for p in (tmp_path / "out" / "all" / "videos").iterdir())
    assert names == sorted(["chelsea-0.mp4", "coffee.jpg-0.mp4", "rocket.jpg-0.mp4"])


def test_jobs_that_did_not_end_well_are_left_out(tmp_path):
    good, lost, *bad = jobs(images=("rocket",), seeds=range(8), buckets=(60,))
    sweep(tmp_path / "sweep", [good, lost])
    (tmp_path / "sweep" / "videos" / f"{lost.key}.mp4").unlink()
    for job, status in zip(bad, STATUSES[1:], strict=True):
        sweep(tmp_path / "sweep", [job], status=status)
    export(tmp_path / "sweep", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out" / "all" / "videos").iterdir()] == ["rocket-0.mp4"]


def test_more_seeds_than_vbench_looks_for_are_refused_before_anything_is_written(tmp_path):
    made = [*jobs(("rocket",), range(SAMPLES + 1), (60,)), *jobs(("coffee",), (0,), (60,))]
    folder = sweep(tmp_path / "sweep", made)
    with pytest.raises(UserError, match="at most 5 videos of an image, and all has 6 of rocket"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(sweep(tmp_path / "enough", jobs(("rocket",), range(SAMPLES), (60,))), tmp_path / "out")
    assert len(list((tmp_path / "out" / "all" / "videos").iterdir())) == SAMPLES == 5


def test_a_folder_that_is_no_sweep_or_a_full_target_is_one_sentence(tmp_path, capsys):
    assert exported(tmp_path, tmp_path / "out") == 2
    assert "no finished job" in capsys.readouterr().err
    folder = sweep(tmp_path / "sweep", jobs())
    (tmp_path / "file").touch()
    for full in (tmp_path, tmp_path / "file"):
        assert exported(folder, full) == 2
        assert "not an empty folder" in capsys.readouterr().err
    assert exported(folder, tmp_path / "out") == 0
    assert capsys.readouterr().out.count("evaluate_i2v.py") == 2


def exported(folder, into):
    """The exit code of the verb."""
    return cli.main(["export", str(folder), "--to", "vbench", "--into", str(into)])
