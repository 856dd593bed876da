"""VBench-I2V's results come to the rows of the sweep that was exported, and no other file's do."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from svdsweep import cli
from svdsweep.config import Image, Job
from svdsweep.errors import UserError
from svdsweep.images import identify, locate
from svdsweep.report.vbench import export
from svdsweep.runner import leases
from svdsweep.store import vbench
from svdsweep.store.rows import Row, Store
from svdsweep.store.vbench import COLUMNS, join, read_results

PICTURE = Image(name="rocket", path="rocket.jpg", sha256=identify(locate("rocket.jpg")))
JOBS = [Job(image=PICTURE, seed=seed, height=64, width=64) for seed in (7, 3)]


def sweep(folder, jobs=JOBS):
    store = Store(folder)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for job in jobs:
        store.append(Row(job, "ok", values={"total_s": 1.5}))
        (folder / "videos" / f"{job.key}.mp4").write_bytes(job.key.encode())
    return folder


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A sweep under runs/ and its export, `judged/all/videos/rocket-<0, 1>.mp4` by seed."""
    monkeypatch.chdir(tmp_path)
    export(sweep(Path("runs/x")), Path("judged"))
    return Path("judged/all/videos").resolve()


def results(file, videos, **dimensions):
    """A file as VBench's `evaluate` writes it, with a score a video for each dimension."""
    plain = {
        name: [0.5, [{"video_path": str(v), "video_results": s} for v, s in zip(videos, scores, strict=True)]]
        for name, scores in dimensions.items()
    }
    Path(file).write_text(json.dumps(plain), encoding="utf-8")
    return file


def both(folder):
    return [folder / "rocket-0.mp4", folder / "rocket-1.mp4"]


def values(folder="runs/x"):
    rows = Store(Path(folder)).rows()
    return {
        row.job.seed: {n: v for n, v in row.values.items() if n.startswith("vbench_")}
        for row in rows.values()
    }


def test_each_score_becomes_a_column_of_the_row_whose_video_it_judged(exported, capsys):
    file = results(
        "r_eval_results.json",
        both(exported),
        i2v_subject=[0.9, 0.8],
        imaging_quality=[70.0, 60.0],
        dynamic_degree=[True, False],
        camera_motion=[1.0, 1.0],
    )
    assert cli.main(["score", "runs/x", "--vbench", file]) == 0
    told = capsys.readouterr().out
    assert "2 rows have VBench's scores, 2 of them new" in told
    assert "vbench_i2v_subject" in told
    assert "camera_motion" in told
    assert values() == {
        3: {"vbench_i2v_subject": 0.9, "vbench_imaging_quality": 0.7, "vbench_dynamic_degree": 1.0},
        7: {"vbench_i2v_subject": 0.8, "vbench_imaging_quality": 0.6, "vbench_dynamic_degree": 0.0},
    }
    assert all(
        row.values["total_s"] == 1.5 and row.attempt == 1 for row in Store(Path("runs/x")).rows().values()
    )
    assert "vbench_i2v_subject" in Path("runs/x/results.csv").read_text(encoding="utf-8")


def test_a_second_time_adds_nothing_and_another_dimension_is_added(exported, capsys):
    results("a.json", both(exported), i2v_subject=[0.9, 0.8])
    results("b.json", both(exported)[:1], motion_smoothness=[0.99])
    for files, new in ((["a.json"], 2), (["a.json"], 0), (["a.json", "b.json"], 1)):
        assert cli.main(["score", "runs/x", "--vbench", *files, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["new_rows"] == new
    assert values()[3] == {"vbench_i2v_subject": 0.9, "vbench_motion_smoothness": 0.99}


def test_the_sweep_under_runs_that_has_the_jobs_is_found(exported, capsys):
    sweep(Path("runs/other"), [replace(JOBS[0], fps=9)])
    results("a.json", both(exported), i2v_subject=[0.9, 0.8])
    assert cli.main(["score", "--vbench", "a.json"]) == 0
    sweep(Path("runs/twin"))
    assert cli.main(["score", "--vbench", "a.json"]) == 2
    assert "runs/NAME" in (told := capsys.readouterr().err)
    assert "more than one sweep" in told


def test_where_seeds_were_added_since_the_export_its_videos_keep_their_jobs(exported):
    sweep(Path("runs/x"), [replace(JOBS[0], seed=1)])  # would be rocket-0 by now
    results("a.json", both(exported), i2v_subject=[0.9, 0.8])
    assert cli.main(["score", "runs/x", "--vbench", "a.json"]) == 0
    assert {seed: list(columns.values()) for seed, columns in values().items()} == {3: [0.9], 7: [0.8], 1: []}


def test_what_vbench_copied_beside_its_results_tells_as_the_export_does(exported, tmp_path):
    """Judged on another machine, whose paths mean nothing here."""
    info = (exported.parent / "full_info.json").read_text(encoding="utf-8")
    (tmp_path / "r_full_info.json").write_text(info, encoding="utf-8")
    there = ["C:\\judged\\all\\videos\\rocket-0.mp4", "/gone/videos/rocket-1.mp4"]
    results(tmp_path / "r_eval_results.json", there, i2v_subject=[0.9, 0.8])
    keys = {job.key for job in JOBS}
    joined = join([tmp_path / "r_eval_results.json"], keys)
    assert {key: columns["vbench_i2v_subject"] for key, columns in joined.columns.items()} == {
        JOBS[1].key: 0.9,
        JOBS[0].key: 0.8,
    }


def test_videos_named_by_their_keys_need_no_export(tmp_path):
    results(tmp_path / "a.json", [f"/x/{JOBS[0].key}.mp4", "/x/stranger.mp4"], i2v_subject=[0.9, 0.8])
    joined = join([tmp_path / "a.json"], {JOBS[0].key})
    assert joined.columns == {JOBS[0].key: {"vbench_i2v_subject": 0.9}}
    assert joined.unmatched == ["stranger.mp4"]


def test_videos_of_no_row_and_rows_of_no_video_are_counted_and_named(exported, capsys):
    results("a.json", [*both(exported)[:1], exported / "else-0.mp4"], i2v_subject=[0.9, 0.8])
    assert cli.main(["score", "runs/x", "--vbench", "a.json"]) == 0
    told = capsys.readouterr().out
    assert "1 videos are of no row here: else-0.mp4." in told
    assert f"1 finished rows have none: {JOBS[0].key}." in told


def test_what_vbench_could_not_judge_is_no_score(tmp_path):
    results(tmp_path / "a.json", ["/x/a.mp4", "/x/b.mp4"], i2v_subject=[float("nan"), 0.5])
    assert read_results(tmp_path / "a.json")[0] == {"/x/a.mp4": {}, "/x/b.mp4": {"vbench_i2v_subject": 0.5}}


ENTRY = '{"video_path": "a.mp4", "video_results": %s}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "it has none of i2v_subject"),
        ('{"object_class": [1, []]}', "it has none of i2v_subject"),
        ('{"i2v_subject": 1}', "no list of a mean and of videos"),
        ('{"i2v_subject": [1, ["a.mp4"]]}', "something else than a video_path"),
        (f'{{"i2v_subject": [1, [{ENTRY % """ "high" """}]]}}', "something else than a video_path"),
        (f'{{"i2v_subject": [1, [{ENTRY % 1.2}]]}}', "not between 0 and 1"),
        (f'{{"imaging_quality": [1, [{ENTRY % ("9" * 400)}]]}}', "not between 0 and 100"),
        (f'{{"i2v_subject": [1, [{ENTRY % ("9" * 9000)}]]}}', "cannot be read as JSON"),
        (f'{{"i2v_subject": [1, [{ENTRY % 0.5}, {ENTRY % 0.5}]]}}', "a video twice"),
    ],
    ids=range(11),
)
def test_what_is_no_file_of_vbenchs_results_is_refused_in_a_paragraph(exported, capsys, text, told):
    Path("a.json").write_text(text, encoding="utf-8")
    assert cli.main(["score", "runs/x", "--vbench", "a.json"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_other_wrong_input_is_a_paragraph(exported, capsys, monkeypatch):
    results("good.json", both(exported), i2v_subject=[0.9, 0.8])
    results("lost.json", ["/gone/a.mp4"], i2v_subject=[0.9])
    monkeypatch.setattr(vbench, "LARGEST_BYTES", 1000)
    results("large.json", both(exported) * 4, i2v_subject=[0.5] * 8)
    for words, told in (
        (["runs/x", "--vbench", "none.json"], "there is no such file"),
        (["runs/x", "--vbench", "lost.json"], "nothing tells which jobs"),
        (["runs/x", "--vbench", "large.json"], "it has more than"),
        (["runs/x", "--vbench", "good.json", "good.json"], "a second i2v_subject"),
        (["runs/x", "runs/y", "--vbench", "good.json"], "name one folder"),
        (["runs/y", "--vbench", "good.json"], "no row here is of"),
        ([], "score wants a video"),
    ):
        assert cli.main(["score", *words]) == 2
        assert told in capsys.readouterr().err


def test_a_sweep_that_runs_is_left_alone(exported, monkeypatch, capsys):
    results("a.json", both(exported), i2v_subject=[0.9, 0.8])
    monkeypatch.setattr("svdsweep.commands.vbench.is_run_now", lambda folder: True)
    assert leases.is_run_now(Path("runs/x")) is False
    assert cli.main(["score", "runs/x", "--vbench", "a.json"]) == 2
    assert "running now" in capsys.readouterr().err


def test_a_path_to_another_machine_is_not_followed(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(vbench, "is_plain", lambda path: opened.append(str(path)))
    results(tmp_path / "a.json", ["\\\\host\\share\\videos\\a.mp4", "//host/v/a.mp4"], i2v_subject=[0.9, 0.8])
    with pytest.raises(UserError):
        join([tmp_path / "a.json"], {JOBS[0].key})
    assert not any("host" in path for path in opened)


def test_every_column_tells_its_range_and_direction():
    for column in COLUMNS:
        assert (column.low, column.high) == (0, 1)
        assert column.better == (None if column.name == "vbench_dynamic_degree" else "higher")
