"""Sweeps that somebody sent: whatever they hold is data, costs only itself, and leads nowhere out of their folder."""

import dataclasses
import json
import os
import sys

import made_up
import pytest
from PIL import Image as Pictures

from svdsweep import cli
from svdsweep.config import Image, Memory, Metrics
from svdsweep.images import identify, locate
from svdsweep.store.rows import Store

SECRET = "the shadow file's content"
ROCKET = Image(name="rocket", path="rocket.jpg", sha256=identify(locate("rocket.jpg")))


@pytest.fixture
def elsewhere(tmp_path):
    """What no foreign sweep may lead to: a text and a picture beside it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "shadow").write_text(SECRET, encoding="utf-8")
    Pictures.new("RGB", (64, 64), "white").save(folder / "white.png")
    return folder


@pytest.fixture
def sweep(tmp_path):
    """A small sweep of two strategies, with a video and a sheet of each job."""
    strategies = {name: made_up.STRATEGIES[name] for name in ("baseline", "forward_chunking")}
    made_up.sweep(tmp_path / "sweep", range(1), strategies=strategies, videos=True, image=ROCKET)
    return tmp_path / "sweep"


def rewrite(sweep, **values):
    """The sweep's rows once more, each with other values."""
    store = Store(sweep, "stranger-1")
    for row in list(store.rows().values()):
        store.append(dataclasses.replace(row, values={**row.values, **values}))


def text_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()).decode("latin-1")


def test_nothing_that_rows_name_is_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("COLUMNS = ()", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    strategies = {"stranger": Memory(name="stranger", extra=["stranger.apply"])}
    metrics = Metrics(families=["stranger", "svdsweep.predict.calibration", "os"])
    sweeps = [tmp_path / "a", tmp_path / "b"]
    for folder in sweeps:
        made_up.sweep(folder, strategies=strategies, metrics=metrics)
    a, b = map(str, sweeps)
    assert cli.main(["report", "--predict", a]) == cli.main(["compare", a, b]) == cli.main(["seeds", a]) == 0
    assert cli.main(["watch", "--once", a]) == cli.main(["merge", a, "--into", str(tmp_path / "c")]) == 0
    assert "stranger" not in sys.modules


def test_a_picture_elsewhere_is_neither_shown_nor_subtracted(sweep, elsewhere):
    rewrite(sweep, contact_sheet=str(elsewhere / "white.png"), video="//host/share/x.mp4")
    assert cli.main(["report", str(sweep)]) == 0
    page = (sweep / "report.html").read_text(encoding="utf-8")
    assert "white.png" not in page.replace("&#34;", '"')
    assert "//host" not in page
    assert not (sweep / "differences").exists()


def test_logs_rows_and_manifests_that_are_links_are_not_read(sweep, elsewhere, capsys):
    (sweep / "logs").mkdir()
    line = next((sweep / "rows").iterdir()).read_text(encoding="utf-8").splitlines()[0]
    (elsewhere / "other.jsonl").write_text(line.replace("baseline", SECRET), encoding="utf-8")
    (elsewhere / "sweep.json").write_text(json.dumps({"name": SECRET}), encoding="utf-8")
    (sweep / "logs" / "a.log").symlink_to(elsewhere / "shadow")
    (sweep / "rows" / "z.jsonl").symlink_to(elsewhere / "other.jsonl")
    os.mkfifo(sweep / "rows" / "y.jsonl")
    (sweep / "sweep.json").unlink()
    (sweep / "sweep.json").symlink_to(elsewhere / "sweep.json")
    Store(sweep, "w").append(made_up.Row(made_up.job(seed=9), "failed"))
    assert cli.main(["report", str(sweep)]) == cli.main(["watch", "--once", str(sweep)]) == 0
    assert "rows/y.jsonl, rows/z.jsonl" in capsys.readouterr().err
    (sweep / "logs" / "a.log").unlink()
    for link in ("rows/z.jsonl", "rows/y.jsonl", "sweep.json"):
        (sweep / link).unlink()
    assert SECRET not in text_of(sweep)


def test_merge_takes_known_files_of_known_jobs_and_no_links(sweep, elsewhere, tmp_path):
    key, other = list(Store(sweep).rows())[:2]
    for name in (f"videos/{key}.mp4.sh", f"{key}.mp4", f"plots/{key}.png", f"videos/deep/{key}.mp4"):
        (sweep / name).parent.mkdir(exist_ok=True)
        (sweep / name).write_text("#!/bin/sh", encoding="utf-8")
    (sweep / "videos" / f"{other}.mp4").unlink()
    (sweep / "videos" / f"{other}.mp4").symlink_to(elsewhere / "shadow")
    (sweep / "baselines").mkdir()
    os.mkfifo(sweep / "baselines" / f"{key}.npz")
    os.chmod(sweep / "sheets" / f"{key}.png", 0o4755)
    assert cli.main(["merge", str(sweep), "--into", str(tmp_path / "into")]) == 0
    copied = {str(path.relative_to(tmp_path / "into")) for path in (tmp_path / "into").rglob("*.*")}
    keys = list(Store(sweep).rows())
    videos = {f"videos/{k}.mp4" for k in keys if k != other}
    results = {"results.csv", "results.md", "results.parquet", "series.parquet"}
    assert copied == videos | {f"sheets/{k}.png" for k in keys} | results | {"rows/bench-1.jsonl"}
    assert not (tmp_path / "into" / "sheets" / f"{key}.png").stat().st_mode & 0o111
    assert SECRET not in text_of(tmp_path / "into")


@pytest.mark.parametrize("verb", [["report"], ["merge", "--into", "{into}"]])
@pytest.mark.parametrize("place", ["plots", "rows", "videos"])
def test_what_is_written_to_a_sweep_stays_in_it(sweep, elsewhere, tmp_path, capsys, verb, place):
    if (sweep / place).exists():
        (sweep / place).rename(elsewhere / place)
    (sweep / place).symlink_to(elsewhere / place)
    (elsewhere / place).mkdir(exist_ok=True)
    before = text_of(elsewhere)
    words = [word.format(into=tmp_path / "into") for word in verb]
    assert cli.main([words[0], str(sweep), *words[1:]]) == 2
    assert f"{place} is a link" in capsys.readouterr().err
    assert text_of(elsewhere) == before


def test_a_temporary_file_that_is_a_link_is_not_written_through(sweep, elsewhere):
    (sweep / f".{os.getpid()}-report.html").symlink_to(elsewhere / "shadow")
    assert cli.main(["report", str(sweep)]) == 0
    assert (elsewhere / "shadow").read_text(encoding="utf-8") == SECRET


@pytest.mark.parametrize("sha256", ["", "5127", "a" * 64])
def test_export_opens_only_the_picture_that_the_row_was_made_from(tmp_path, elsewhere, capsys, sha256):
    path = str(elsewhere / "white.png")
    made_up.sweep(tmp_path / "s", range(1), videos=True, image=Image(name="x", path=path, sha256=sha256))
    assert cli.main(["export", str(tmp_path / "s"), "--to", "vbench", "--into", str(tmp_path / "out")]) == 2
    assert not list((tmp_path / "out").rglob("*.png"))
    assert "not opened" in (said := capsys.readouterr().err) or "content changed" in said
