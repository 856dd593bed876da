"""Sweeps that somebody sent: whatever they hold is data, costs only itself, and leads nowhere out of their folder."""

import dataclasses
import itertools
import json
import os
import shutil
import sys

import hostile
import made_up
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image as Pictures

from svdsweep import cli
from svdsweep.config import Image, Memory, Metrics
from svdsweep.images import identify, locate
from svdsweep.store.files import _mark
from svdsweep.store.places import is_plain
from svdsweep.store.processes import lives
from svdsweep.store.rows import Row, Store

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
    made_up.sweep(tmp_path / "sweep", range(1), (60,), strategies=strategies, videos=True, image=ROCKET)
    return tmp_path / "sweep"


def rewrite(sweep, **values):
    """The sweep's rows once more, each with other values."""
    store = Store(sweep, "stranger-1")
    for row in list(store.rows().values()):
        store.append(dataclasses.replace(row, values={**row.values, **values}))


def text_of(folder):
    """What the plain files of a folder hold."""
    files = [path for path in sorted(folder.rglob("*")) if is_plain(path)]
    return b"".join(path.read_bytes() for path in files).decode("latin-1")


@pytest.mark.usefixtures("no_drawing")
def test_nothing_that_rows_name_is_imported(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("COLUMNS = ()", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    strategies = {"stranger": Memory(name="stranger", extra=["stranger.apply"])}
    metrics = Metrics(families=["stranger", "svdsweep.predict.calibration", "os"])
    sweeps = [tmp_path / "a", tmp_path / "b"]
    for folder in sweeps:
        made_up.sweep(folder, range(1), (60,), strategies=strategies, metrics=metrics)
    a, b = map(str, sweeps)
    assert cli.main(["report", "--predict", a]) == cli.main(["compare", a, b]) == cli.main(["seeds", a]) == 0
    assert cli.main(["watch", "--once", a]) == cli.main(["merge", a, "--into", str(tmp_path / "c")]) == 0
    assert "stranger" not in sys.modules


@pytest.mark.usefixtures("no_drawing")
def test_a_page_shows_nothing_and_leads_to_nothing_that_lies_elsewhere(sweep, elsewhere, capsys):
    rewrite(sweep, contact_sheet=str(elsewhere / "white.png"), video="//host/share/x.mp4")
    Store(sweep, "w").append(Row(made_up.job(seed=9), "failed"))
    line = next((sweep / "rows").iterdir()).read_text(encoding="utf-8").splitlines()[0]
    (elsewhere / "other.jsonl").write_text(line.replace("baseline", SECRET), encoding="utf-8")
    (elsewhere / "sweep.json").write_text(json.dumps({"name": SECRET}), encoding="utf-8")
    (sweep / "logs").mkdir()
    (sweep / "sweep.json").unlink()
    links = {
        "logs/a.log": "shadow",
        "rows/z.jsonl": "other.jsonl",
        "sweep.json": "sweep.json",
        f"{_mark()}{os.getpid()}-report.html": "shadow",  # as the page's temporary file will be called
    }
    for link, target in links.items():
        (sweep / link).symlink_to(elsewhere / target)
    os.mkfifo(sweep / "rows" / "y.jsonl")
    assert cli.main(["report", str(sweep)]) == cli.main(["watch", "--once", str(sweep)]) == 0
    assert "rows/y.jsonl, rows/z.jsonl" in capsys.readouterr().err
    page = (sweep / "report.html").read_text(encoding="utf-8")
    assert not [word for word in ("white.png", "//host", SECRET) if word in page]
    assert SECRET not in text_of(sweep)
    assert not (sweep / "differences").exists()
    assert (elsewhere / "shadow").read_text(encoding="utf-8") == SECRET


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


@pytest.mark.parametrize("sha256", ["", "5127", "a" * 64])
def test_export_opens_only_the_picture_that_the_row_was_made_from(tmp_path, elsewhere, capsys, sha256):
    path = str(elsewhere / "white.png")
    made_up.sweep(
        tmp_path / "s", range(1), (60,), videos=True, image=Image(name="x", path=path, sha256=sha256)
    )
    assert cli.main(["export", str(tmp_path / "s"), "--to", "vbench", "--into", str(tmp_path / "out")]) == 2
    assert not list((tmp_path / "out").rglob("*.png"))
    assert "not opened" in (said := capsys.readouterr().err) or "content changed" in said


STRANGE_NAME = "$\\frac{$ \x1b[31m\u202e_\x07\r\n<script>&\u2028😀" + "x" * 200


def test_names_are_drawn_and_printed_as_they_stand(tmp_path, capsys):
    names = (STRANGE_NAME, "_hidden", "", "=1+1")
    strategies = {"baseline": Memory()} | {
        n: Memory(name=n, decode_budget_gib=i) for i, n in enumerate(names, 1)
    }
    made_up.sweep(tmp_path / "s", range(1), (60,), strategies=strategies, change=on_a_strange_card)
    assert cli.main(["report", str(tmp_path / "s")]) == cli.main(["seeds", str(tmp_path / "s")]) == 0
    assert cli.main(["compare", str(tmp_path / "s"), str(tmp_path / "s")]) == 0
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert "$\\frac{$" in page
    assert "<script>&" not in page
    shown = "".join(capsys.readouterr())
    assert "$\\frac{$ \\x1b[31m\\u202e_\\x07\\r\\n" in shown
    assert not set(shown) & set("\x1b\u202e\x07\r")


def on_a_strange_card(row):
    return dataclasses.replace(row, notes=["\x1b[2J"], provenance=row.provenance | {"gpu": "a\x1b[2Jcard"})


def kept_row(name, seed):
    """A row of a strategy with all that the page shows of one, files among it."""
    job = made_up.job(made_up.STRATEGIES[name], seed=seed, image=ROCKET)
    near = {} if name == "baseline" else {"equality": "near", "psnr_to_baseline_db": 44.0}
    files = {"video": f"videos/{job.key}.mp4", "contact_sheet": f"sheets/{job.key}.png"}
    peaks = {f"{place}vram_allocated_peak_gib": 2.0 for place in ("", "denoise_", "vae_decode_")}
    metrics = {"motion_px": 1.0, "mc_flicker_255": 0.5, "dynamic": True, "flow_method": "dis"}
    return made_up.ok(job, **near, **files, **peaks, **metrics)


KEPT = [kept_row(name, seed) for name in ("baseline", "compile") for seed in (0, 1)]
KEPT.append(
    Row(made_up.job(seed=2, image=ROCKET), "failed", 1, "RuntimeError: x\n at y", "denoise", notes=["z"])
)
PLAIN = [{name: part for name, part in json.loads(row.to_json()).items() if name != "crc32"} for row in KEPT]
MANIFEST = {
    "name": "s",
    "settings": ["seed=0,1"],
    "axes": {"seed": ["0"]},
    "keys": [KEPT[0].key],
    "config_dir": None,
}
WATCH = hostile.Watch()
VERBS = {
    "seeds": ["seeds", "{s}", "--csv", "{out}/seeds.csv"],
    "pair": ["seeds", "{s}", "--pair", "memory=baseline,compile"],
    "compare": ["compare", "{s}", "{good}"],
    "reverse": ["compare", "{good}", "{s}", "--page", "{out}/compare.html", "--markdown", "{out}/compare.md"],
    "watch": ["watch", "--once", "{s}"],
    "check": ["merge", "{s}", "{good}", "--into", "{out}/merged", "--check"],
    "merge": ["merge", "{s}", "{good}", "--into", "{out}/merged", "--prefer", "last"],
    "tables": ["export", "{s}", "--to", "csv", "--into", "{out}/csv"],
    "export": ["export", "{s}", "--to", "vbench", "--into", "{out}/vbench"],
    "plan": ["plan", "name=s", "runs_dir={s}/..", "seed=0,1"],
    "list": ["list", "s", "--in", "{s}/.."],
    "show": ["show", KEPT[0].key, "--in", "{s}"],
    "clean": ["clean", "{s}", "--kinds", "logs,waiting,strays,baselines,videos", "--yes"],
    "report": ["report", "{s}"],
}
"""Every verb that reads sweeps, by a name of its own."""


def attack(folder, cases, verbs):
    """Give so many hostile sweeps to the verbs in turn."""
    elsewhere, good = folder / hostile.ELSEWHERE, folder / "good"
    elsewhere.mkdir(parents=True)
    (elsewhere / "shadow").write_text(SECRET, encoding="utf-8")
    Pictures.new("RGB", (64, 64), "white").save(elsewhere / "white.png")
    for row in KEPT:
        Store(good, "g-1").append(row)
    number = itertools.count()

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile.sweeps(PLAIN, MANIFEST))
    def runs(made):
        here = folder / str(next(number))
        hostile.write(here / "s", elsewhere, made, [row.key for row in KEPT])
        (here / "out").mkdir()
        verb = verbs[int(here.name) % len(verbs)]
        words = [word.format(s=here / "s", good=good, out=here / "out") for word in VERBS[verb]]
        before = sorted(folder.iterdir()), text_of(elsewhere)
        with WATCH.on(elsewhere) as opened:
            assert cli.main(words) in (0, 1, 2), words
        assert not opened, words
        assert (sorted(folder.iterdir()), text_of(elsewhere)) == before
        assert SECRET not in text_of(here)
        shutil.rmtree(here)

    runs()


def test_no_hostile_sweep_stops_a_verb_or_leads_it_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    attack(
        tmp_path / "attack", 24, ["seeds", "compare", "watch", "check", "merge", "export", "show", "clean"]
    )


@pytest.mark.by_hand
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("cases", "verbs"), [(9700, [v for v in VERBS if v != "report"]), (300, ["report"])])
def test_ten_thousand_hostile_sweeps(tmp_path, monkeypatch, cases, verbs):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    attack(tmp_path / "attack", cases, verbs)


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux alone")
def test_names_of_files_may_be_any_bytes(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff \n$\\frac{$ <b>\x1b[2J=")
    for row in KEPT:
        Store(folder, os.fsdecode(b"\xfe\r\n")).append(row)
    Store(folder, "-rf").path.write_text("bad\n", encoding="utf-8")
    (folder / "logs").mkdir()
    (folder / "logs" / os.fsdecode(b"\xff\n.log")).write_bytes(b"\xff\0\x1b[2J")
    for verb in VERBS:
        (out := tmp_path / verb).mkdir()
        words = [word.format(s=folder, good=folder, out=out) for word in VERBS[verb]]
        assert cli.main(words) in (0, 2), words


@pytest.mark.parametrize("verb", [v for v in VERBS if v not in ("pair", "reverse", "check")])
def test_every_verb_counts_the_rows_that_it_could_not_read(tmp_path, capsys, verb):
    for row in KEPT:
        Store(tmp_path / "s", "w-1").append(row)
    shutil.copytree(tmp_path / "s", tmp_path / "good")
    with (tmp_path / "s" / "rows" / "w-1.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"job": {}, "status": "ok", "values": {"total_s": "\x1b[2J"}}\n')
    (tmp_path / "out").mkdir()
    words = [
        word.format(s=tmp_path / "s", good=tmp_path / "good", out=tmp_path / "out") for word in VERBS[verb]
    ]
    assert cli.main(words) in (0, 2)
    said = f"warning: {tmp_path / 's'}: 1 row could not be read: rows/w-1.jsonl line 6 (torn, or no JSON)"
    assert said in capsys.readouterr().err.replace("/s/../s", "/s")


@pytest.mark.parametrize("pid", [-1, 0, 2**31, 2**63, 10**30, "x", None])
def test_a_claim_may_name_any_process(pid):
    assert not lives({"machine": "m", "pid": pid, "born": 1.0})
