"""Folders that become one, and a sweep that is watched from elsewhere."""

import json
import threading

import fakes
import pytest

from svdsweep.commands import merge, watch
from svdsweep.errors import UserError
from svdsweep.store.rows import Row, Store, last_rows, read_rows


def fill(folder, rows, writer="host-1"):
    store = Store(folder, writer)
    for row in rows:
        store.append(row)
        video = folder / "videos" / f"{row.key}.mp4"
        video.parent.mkdir(exist_ok=True)
        video.write_text(f"{folder.name} {row.status}", encoding="utf-8")
    return folder


def ok(seed, gpu="A", **more):
    return Row(fakes.job(seed), "ok", provenance={"gpu": gpu}, **more)


def test_merging_two_machines_is_copying(tmp_path):
    a = fill(tmp_path / "a", [ok(0), ok(1)])
    b = fill(tmp_path / "b", [ok(2), Row(fakes.job(3), "failed")])
    assert merge.main([str(a), str(b), "--into", str(tmp_path / "c")]) == 0
    rows = Store(tmp_path / "c").rows()
    assert {row.job.seed: row.status for row in rows.values()} == {0: "ok", 1: "ok", 2: "ok", 3: "failed"}
    assert len(list((tmp_path / "c" / "videos").iterdir())) == 4
    assert (tmp_path / "c" / "results.csv").exists()


def test_merging_again_changes_nothing_and_takes_what_is_new(tmp_path):
    a, b, c = fill(tmp_path / "a", [ok(0)]), fill(tmp_path / "b", [ok(1)]), tmp_path / "c"
    for _ in range(2):
        assert merge.main([str(a), str(b), "--into", str(c)]) == 0
    assert len(list(read_rows(c))) == 2
    fill(a, [ok(2)])
    assert merge.main([str(a), "--into", str(c)]) == 0
    assert len(Store(c).rows()) == 3


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


def test_a_folder_that_is_no_sweep_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no sweep"):
        merge.main([str(tmp_path), "--into", str(tmp_path / "c")])


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
