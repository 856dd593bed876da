"""Folders that become one, and a sweep that is watched from elsewhere."""

import json
import shutil
import threading
from types import SimpleNamespace

import fakes
import PIL.Image
import pytest

from svdsweep.commands import merge, watch
from svdsweep.errors import UserError
from svdsweep.runner.contract import Batch
from svdsweep.store.rows import Row, Store, last_rows, read_rows


def fill(folder, rows, writer="host-1"):
    store = Store(folder, writer)
    for row in rows:
        store.append(row)
        for name in (f"videos/{row.key}.mp4", f"sheets/{row.key}.png", f"baselines/waiting/{row.key}.npz"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{folder.name} {row.status}", encoding="utf-8")
    return folder


def ok(seed, gpu="A", **more):
    return Row(fakes.job(seed), "ok", provenance={"gpu": gpu}, **more)


def test_merging_two_machines_is_copying(tmp_path):
    a = fill(tmp_path / "a", [ok(0), ok(1)])
    b = fill(tmp_path / "b", [ok(2), Row(fakes.job(3), "failed")])
    (a / "claims").mkdir()
    (a / "claims" / ok(1).key).touch()
    assert merge.main([str(a), str(b), "--into", str(tmp_path / "c")]) == 0
    rows = Store(tmp_path / "c").rows()
    assert {row.job.seed: row.status for row in rows.values()} == {0: "ok", 1: "ok", 2: "ok", 3: "failed"}
    kept = sorted(
        path.relative_to(tmp_path / "c").parent.as_posix() for path in (tmp_path / "c").rglob("*.*")
    )
    assert [kept.count(name) for name in ("videos", "sheets", "baselines/waiting")] == [4, 4, 4]
    assert not (tmp_path / "c" / "claims").exists()
    assert (tmp_path / "c" / "results.csv").exists()


def test_merging_again_changes_nothing_and_takes_what_is_new(tmp_path):
    a, b, c = fill(tmp_path / "a", [ok(0)]), fill(tmp_path / "b", [ok(1)]), tmp_path / "c"
    for _ in range(2):
        assert merge.main([str(a), str(b), "--into", str(c)]) == 0
    assert len(list(read_rows(c))) == 2
    shutil.copytree(a, tmp_path / "before")
    fill(a, [ok(2)])
    for folder in (a, tmp_path / "before"):
        assert merge.main([str(folder), "--into", str(c)]) == 0
        assert sorted(row.job.seed for row in read_rows(c)) == [0, 1, 2]


def test_jobs_finished_twice_are_a_conflict_until_one_is_preferred(tmp_path, capsys):
    a = fill(tmp_path / "a", [ok(0, values={"total_s": 1.0}), ok(1)])
    b = fill(tmp_path / "b", [Row(fakes.job(0), "oom", attempt=1, provenance={"gpu": "B"})], "host-2")
    c = tmp_path / "c"
    with pytest.raises(UserError, match="1 jobs were finished in more than one folder"):
        merge.main([str(a), str(b), "--into", str(c)])
    assert not c.exists()
    assert "ok and oom, on A and B" in capsys.readouterr().err
    assert merge.main([str(a), str(b), "--into", str(c), "--check"]) == 1
    key = fakes.job(0).key
    for row in (*Store(a).rows().values(), *Store(b).rows().values()):
        Store(tmp_path / f"holds-{row.status}", row.status).append(row)
    for prefer, status in (("first", "oom"), ("last", "ok")):  # what the folder holds comes before all others
        into = tmp_path / f"holds-{prefer}"
        shutil.copytree(tmp_path / "holds-oom", into)
        assert merge.main([str(a), "--into", str(into), f"--prefer={prefer}"]) == 0
        assert Store(into).rows()[key].status == status
    for prefer, status, video in (("first", "ok", "a ok"), ("last", "oom", "b oom")):
        into = tmp_path / prefer
        assert merge.main([str(a), str(b), "--into", str(into), f"--prefer={prefer}"]) == 0
        assert Store(into).rows()[key].status == last_rows(read_rows(into))[key].status == status
        assert (into / "videos" / f"{key}.mp4").read_text(encoding="utf-8") == video
        assert len(Store(into).rows()) == 2


def test_a_finished_row_wins_over_a_failed_one_without_a_conflict(tmp_path):
    a = fill(tmp_path / "a", [ok(0)])
    b = fill(tmp_path / "b", [Row(fakes.job(0), "crashed", attempt=2)], "host-2")
    for folders in ([a, b], [b, a]):
        into = tmp_path / f"{folders[0].name}-first"
        assert merge.main([*map(str, folders), "--into", str(into)]) == 0
        assert [row.status for row in Store(into).rows().values()] == ["ok"]
        assert next((into / "videos").iterdir()).read_text(encoding="utf-8") == "a ok"


def test_of_rows_that_are_not_final_the_first_folders_counts_unless_the_last_is_preferred(tmp_path):
    failed = [Row(fakes.job(0), "failed", error=name) for name in "ab"]
    folders = [str(fill(tmp_path / row.error, [row], f"host-{row.error}")) for row in failed]
    for flags, error in (([], "a"), (["--prefer=first"], "a"), (["--prefer=last"], "b")):
        into = tmp_path / f"into{len(list(tmp_path.iterdir()))}"
        assert merge.main([*folders, "--into", str(into), *flags]) == 0
        assert [row.error for row in Store(into).rows().values()] == [error]


def test_two_finished_rows_contradict_behind_one_that_failed_too(tmp_path, capsys):
    ends = [Row(fakes.job(0), "failed"), *(ok(0, values={"total_s": total_s}) for total_s in (1.0, 2.0))]
    folders = [str(fill(tmp_path / f"f{i}", [row])) for i, row in enumerate(ends)]
    assert merge.main([*folders, "--into", str(tmp_path / "c"), "--check"]) == 1
    assert capsys.readouterr().out == "1 conflicts in 3 folders\n"


def test_a_folder_is_merged_into_itself_once_however_its_path_is_written(tmp_path, capsys):
    a, b = fill(tmp_path / "a", [ok(0)]), fill(tmp_path / "b", [ok(1)], "host-2")
    assert merge.main([str(a), str(b), "--into", f"{tmp_path}/b/../a"]) == 0
    assert capsys.readouterr().out.endswith("2 jobs of 2 folders\n")
    assert len(list(read_rows(a))) == 2


def test_a_folder_that_is_no_sweep_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no sweep"):
        merge.main([str(tmp_path), "--into", str(tmp_path / "c")])


def test_watch_tells_where_the_pictures_of_running_jobs_are_and_draws_them_when_asked(tmp_path, capsys):
    (tmp_path / "previews").mkdir()
    path = tmp_path / "previews" / "abc.png"
    PIL.Image.new("RGB", (8, 8), (1, 2, 3)).save(path)
    (tmp_path / "previews" / "no job.png").touch()
    assert watch.main([str(tmp_path), "--once"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"preview of abc: {path}"]
    assert watch.main([str(tmp_path), "--once", "--preview"]) == 0
    assert capsys.readouterr().out.count("\x1b[38;2;1;2;3;48;2;1;2;3m▀") == 8 * 4
    assert watch.main([str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["previews"] == {"abc": str(path)}


def test_watch_tells_how_a_sweep_stands(tmp_path, capsys):
    jobs = [fakes.job(i) for i in range(3)]
    fill(tmp_path, [ok(0), Row(fakes.job(1), "crashed"), ok(9)])
    (tmp_path / "sweep.json").write_text(json.dumps({"keys": [job.key for job in jobs]}), encoding="utf-8")
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / jobs[2].key).touch()
    assert watch.main([str(tmp_path), "--once"]) == 0
    assert "2 of 3 jobs have a row (1 ok, 1 crashed), 1 under way" in capsys.readouterr().out
    assert watch.main([str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statuses"] == {"ok": 1, "crashed": 1}


def test_watch_follows_until_every_job_has_a_row(tmp_path, capsys):
    fill(tmp_path, [ok(0)])
    keys = [fakes.job(i).key for i in range(3)]
    (tmp_path / "sweep.json").write_text(json.dumps({"keys": keys}), encoding="utf-8")
    threading.Timer(0.3, fill, [tmp_path, [ok(1), Row(fakes.job(2), "oom")]]).start()
    assert watch.main([str(tmp_path), "--every", "0.05"]) == 0
    heard = capsys.readouterr().err
    assert "1 of 3 jobs have a row" in heard
    assert f"[2/2] {keys[2]} oom" in heard


def test_watch_refuses_what_is_no_folder(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        watch.main([str(tmp_path / "nothing")])


def test_a_standing_is_told_in_the_statuses_order_with_its_array():
    now = {"folder": "runs/a", "jobs": 9, "statuses": {"rejected": 1, "oom": 2, "ok": 3}, "under_way": 2}
    alone = now | {"slurm_array": None, "slurm_tasks": None}
    line = "runs/a: 6 of 9 jobs have a row (3 ok, 2 oom, 1 rejected), 2 under way"
    assert watch.in_words(alone) == line
    assert watch.in_words(alone | {"jobs": None}) == line.replace(" of 9", "")
    assert watch.in_words(alone | {"statuses": {}}) == "runs/a: 0 of 9 jobs have a row (none), 2 under way"
    array = now | {"slurm_array": "77", "slurm_tasks": {"running": 3}}
    assert watch.in_words(array) == f"{line}; array 77: {{'running': 3}}"
    assert watch.in_words(array | {"slurm_tasks": {}}) == f"{line}; array 77: not in the queue"


def test_without_a_manifest_every_row_counts_and_the_number_of_jobs_is_not_known(tmp_path):
    fill(tmp_path, [ok(0), ok(9), Row(fakes.job(1), "oom")])
    now = watch.standing(tmp_path)
    assert (now["jobs"], now["statuses"], now["slurm_array"]) == (None, {"ok": 2, "oom": 1}, None)


def test_watch_follows_only_the_jobs_of_the_last_command(tmp_path, capsys, monkeypatch):
    waiting = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: pytest.fail("it waits"))
    monkeypatch.setattr(watch, "time", waiting)
    fill(tmp_path, [Row(fakes.job(0), "failed"), ok(7)])
    for keys, told in (
        ([fakes.job(0).key], "1 of 1 jobs have a row (1 failed)"),
        ([], "0 of 0 jobs have a row (none)"),
    ):
        (tmp_path / "sweep.json").write_text(json.dumps({"keys": keys}), encoding="utf-8")
        assert watch.main([str(tmp_path)]) == 0
        assert capsys.readouterr().err == f"{tmp_path}: {told}, 0 under way\n"


def test_without_a_manifest_or_an_answer_of_the_cluster_watch_goes_on(tmp_path, monkeypatch):
    fill(tmp_path, [ok(0)])
    looks, heard = iter([1, 2]), []

    def sleep(_):
        if (seed := next(looks, None)) is None:
            raise KeyboardInterrupt
        fill(tmp_path, [ok(seed)])

    told = SimpleNamespace(
        opened=lambda *_: None,
        closed=lambda: None,
        finished=lambda worker, row, left_s: heard.append(row.job.seed),
    )
    monkeypatch.setattr(watch, "for_terminal", lambda: told)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=sleep))
    monkeypatch.setattr(watch, "batch_of", lambda _: Batch("77", None))
    with pytest.raises(KeyboardInterrupt):
        watch.follow(tmp_path, 0.0)
    assert heard == [1, 2]


def test_a_row_is_of_its_worker_else_of_its_host():
    made = {"worker": "bench-1-gpu0", "host": "bench"}
    assert watch._worker(ok(0)) == ""
    assert [
        watch._worker(Row(fakes.job(0), "ok", provenance=p)) for p in (made, {**made, "worker": None})
    ] == [*("bench-1-gpu0", "bench")]


def test_an_array_that_has_ended_early_is_told_and_the_exit_code_says_so(tmp_path, monkeypatch, capsys):
    fill(tmp_path, [ok(0)])
    keys = [fakes.job(i).key for i in range(3)]
    (tmp_path / "sweep.json").write_text(json.dumps({"keys": keys}), encoding="utf-8")
    monkeypatch.setattr(watch, "batch_of", lambda _: Batch("77", {}))
    assert watch.main([str(tmp_path), "--every", "0.01"]) == 1
    assert "Its array 77 has ended and left 2 jobs undone." in capsys.readouterr().err


def test_the_time_left_is_told_from_the_rows_that_came(tmp_path, monkeypatch):
    jobs = [fakes.job(i) for i in range(4)]
    (tmp_path / "sweep.json").write_text(json.dumps({"keys": [job.key for job in jobs]}), encoding="utf-8")
    now, heard, coming = [100.0], [], iter([0, 9, 1, 2, 3])

    def sleep(_):  # a row every 10 s, of jobs of this sweep and one of another
        now[0] += 10.0
        fill(tmp_path, [ok(seed) for seed in [next(coming, None)] if seed is not None])

    told = SimpleNamespace(
        opened=lambda *_: None, closed=lambda: None, finished=lambda worker, row, left_s: heard.append(left_s)
    )
    monkeypatch.setattr(watch, "for_terminal", lambda: told)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    assert watch.follow(tmp_path, 10.0) == 0
    assert heard == [30.0, 60.0, 30.0, pytest.approx(40 / 3), 0.0]


def test_of_rows_that_differ_the_preferred_is_written_with_the_highest_attempt_of_all(tmp_path, capsys):
    first = ok(0, attempt=3, values={"total_s": 1.0})
    a, b = fill(tmp_path / "a", [first]), fill(tmp_path / "b", [ok(0, values={"total_s": 2.0})], "host-2")
    for prefer, total_s in (("first", 1.0), ("last", 2.0)):
        into = tmp_path / prefer
        assert merge.main([str(a), str(b), "--into", str(into), f"--prefer={prefer}"]) == 0
        (row,) = Store(into).rows().values()
        assert (row.values["total_s"], row.attempt) == (total_s, 3)
    said = capsys.readouterr()
    assert said.out == "".join(f"{tmp_path / n}: 1 jobs of 2 folders\n" for n in ("first", "last"))
    assert said.err.splitlines()[0] == f"{first.key}: ok twice ({a} and {b})"


def test_check_counts_the_conflicts_and_copies_nothing(tmp_path, capsys):
    a, b = fill(tmp_path / "a", [ok(0)]), fill(tmp_path / "b", [ok(1)])
    assert merge.main([str(a), str(b), "--into", str(tmp_path / "c"), "--check"]) == 0
    assert capsys.readouterr().out == "0 conflicts in 2 folders\n"
    assert not (tmp_path / "c").exists()
