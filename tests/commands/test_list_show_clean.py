"""The sweeps of a folder: found again by what was said of them, looked into, and cleared out."""

import json
import shutil

import fakes
import pytest

from svdsweep import cli
from svdsweep.commands import clean, show
from svdsweep.commands import list as listing
from svdsweep.errors import UserError
from svdsweep.grid.expand import expand
from svdsweep.runner.leases import Leases
from svdsweep.store.manifest import Manifest, read_manifest, write_manifest
from svdsweep.store.rows import Row, Store

FAST, SLOW, LOST = fakes.job(0), fakes.job(1), fakes.job(2)


def a_sweep(folder, tags=(), note="", rows=()):
    write_manifest(folder, Manifest(folder.name, ["seed=0,1"], None, {}, [FAST.key, SLOW.key], tags, note))
    for row in rows:
        Store(folder, "w-1").append(row)
    return folder


def ok(job, seconds):
    return Row(
        job, "ok", values={"total_s": seconds}, provenance={"worker": "w", "device": "cpu"}, notes=["a note"]
    )


@pytest.fixture
def runs(tmp_path):
    a_sweep(tmp_path / "night", ["rtx", "long"], "the whole grid", [ok(FAST, 1.5), ok(SLOW, 3.0)])
    a_sweep(tmp_path / "day", ["rtx"], rows=[Row(FAST, "failed", error="it broke")])
    (tmp_path / "no_sweep").mkdir()
    return tmp_path


def told(capsys, *words):
    assert cli.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_list_tells_how_each_sweep_stands(runs, capsys):
    sweeps = {sweep["name"]: sweep for sweep in told(capsys, "list", "--in", str(runs))}
    assert set(sweeps) == {"night", "day"}
    night, day = sweeps["night"], sweeps["day"]
    assert (night["state"], night["jobs"], night["statuses"], night["fastest_s"]) == (
        "done",
        2,
        {"ok": 2},
        1.5,
    )
    assert (day["state"], day["statuses"], day["fastest_s"]) == ("to do", {"failed": 1}, None)
    assert night["size_mib"] == round(sum(p.stat().st_size for p in (runs / "night").rglob("*.*")) / 2**20, 1)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["GRID"], ["night"]),
        (["whole", "long"], ["night"]),
        (["whole", "short"], []),
        (["--tag", "rtx"], ["day", "night"]),
        (["--tag", "rtx", "--tag", "long"], ["night"]),
        (["seed=0"], ["day", "night"]),
        (["day"], ["day"]),
    ],
)
def test_sweeps_are_found_by_their_name_tags_note_and_settings(runs, capsys, words, found):
    assert sorted(sweep["name"] for sweep in told(capsys, "list", "--in", str(runs), *words)) == found


def test_the_table_names_what_did_not_end_well(runs, capsys):
    assert cli.main(["list", "day", "--in", str(runs)]) == 0
    assert "to do, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [([], "There is no sweep in"), (["moon"], "No sweep in")])
def test_an_empty_list_says_why(runs, capsys, words, said):
    assert cli.main(["list", "--in", str(runs if words else runs / "no_sweep"), *words]) == 0
    assert said in capsys.readouterr().out


def test_a_sweep_that_a_living_driver_holds_is_running_and_is_not_cleaned(runs):
    with Leases(runs / "day", stale_s=60) as leases:
        assert listing.listed(runs / "day").state == "to do"
        assert leases.take(FAST.key)
        assert listing.listed(runs / "day").state == "running"
        with pytest.raises(UserError, match="is being run"):
            clean.main([str(runs / "day")])


def test_tags_and_note_stay_until_others_are_given(tmp_path):
    folder = a_sweep(tmp_path / "s", ["a", "b"], "why")
    a_sweep(folder)
    assert (read_manifest(folder)["tags"], read_manifest(folder)["note"]) == (["a", "b"], "why")
    a_sweep(folder, ["c"], "because")
    assert (read_manifest(folder)["tags"], read_manifest(folder)["note"]) == (["c"], "because")


def test_a_note_is_taken_as_it_is_typed():
    grid = expand(["seed=0", "tags=[rtx 4070,night]", "note=why, [oh] {why}: 5% = it's"])
    assert (grid.tags, grid.note) == (["rtx 4070", "night"], "why, [oh] {why}: 5% = it's")


def test_tags_and_note_are_no_part_of_a_job():
    assert expand(["seed=3", "tags=[a]", "note=b"]).name == expand(["seed=3"]).name


def test_a_job_is_shown_by_the_first_digits_of_its_key(runs, capsys):
    (runs / "night" / "logs").mkdir()
    (runs / "night" / "logs" / "w.log").write_text("a line of the log\n", encoding="utf-8")
    (runs / "night" / "videos").mkdir()
    (runs / "night" / "videos" / f"{SLOW.key}.mp4").touch()
    assert cli.main(["show", SLOW.key[:6], "--in", str(runs)]) == 0
    page = capsys.readouterr().out
    for part in (
        f"{SLOW.key}  ok",
        "seed=1",
        "total_s  3",
        "device  cpu",
        "a note",
        f"{SLOW.key}.mp4",
        "a line of",
    ):
        assert part in page, part


def test_a_job_of_two_sweeps_is_shown_from_the_one_written_last(runs, capsys):
    shutil.copytree(runs / "night", runs / "z", copy_function=shutil.copy)  # with a new date
    assert told(capsys, "show", FAST.key, "--in", str(runs))[0]["folder"] == str(runs / "z")
    assert cli.main(["show", FAST.key, "--in", str(runs)]) == 0
    assert "It is in" in capsys.readouterr().out


def test_what_failed_is_shown_with_its_error(runs, capsys):
    assert cli.main(["show", FAST.key, "--in", str(runs / "day")]) == 0
    assert "it broke" in capsys.readouterr().out


@pytest.mark.parametrize(("key", "said"), [("xyz", "no key"), ("0" * 12, "begins with"), ("ab", "no key")])
def test_a_key_that_is_none_is_refused(runs, key, said):
    with pytest.raises(UserError, match=said):
        show.main([key, "--in", str(runs)])


def test_digits_of_several_jobs_are_refused_with_their_keys(tmp_path):
    jobs = [fakes.job(seed) for seed in range(5000)]
    by_start = {}
    one, other = next((by_start[j.key[:3]], j) for j in jobs if by_start.setdefault(j.key[:3], j) is not j)
    a_sweep(tmp_path / "s", rows=[ok(one, 1.0), ok(other, 1.0)])
    with pytest.raises(UserError, match=f"2 jobs have keys .*{min(one.key, other.key)}"):
        show.main([one.key[:3], "--in", str(tmp_path)])


@pytest.fixture
def full(runs):
    """A sweep with files of every kind, and one of a job that has no row."""
    folder = runs / "night"
    kinds = {"videos": ".mp4", "sheets": ".png", "baselines": ".npz", "baselines/waiting": ".npz"}
    names = [f"{place}/{job.key}{end}" for job in (FAST, LOST) for place, end in kinds.items()]
    for name in [*names, "logs/w.log"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x" * 100, encoding="utf-8")
    return folder


def left(folder):
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    return sorted(name for name in names if not name.startswith(("rows", "sweep")))


@pytest.mark.parametrize(
    ("kinds", "stay"),
    [
        ([], [f"baselines/{FAST.key}.npz", f"sheets/{FAST.key}.png", f"videos/{FAST.key}.mp4"]),
        (["--kinds", "logs,strays,baselines,videos"], [f"baselines/waiting/{FAST.key}.npz"]),
    ],
)
def test_what_is_not_needed_goes_and_what_is_needed_stays(full, kinds, stay):
    assert clean.main([str(full), *kinds, "--yes"]) == 0
    assert left(full) == stay
    assert len(Store(full).rows()) == 2


def test_a_file_of_two_kinds_is_told_once(full):
    found = clean.what_may_go(full, ["waiting", "strays"])
    assert [len(found[kind]) for kind in ("waiting", "strays")] == [2, 3]


def test_a_picture_of_a_run_that_was_killed_is_a_stray(full):
    picture = full / "previews" / f"{FAST.key}.png"
    picture.parent.mkdir()
    picture.touch()
    assert picture in clean.what_may_go(full, ["strays"])["strays"]


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False), ("", False)])
def test_nothing_goes_before_the_user_says_so(full, monkeypatch, answer, gone):
    before = left(full)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert clean.main([str(full)]) == (0 if gone else 1)
    assert (left(full) == before) != gone


def test_without_a_terminal_nothing_goes_unless_it_was_said(full, capsys):
    before = left(full)
    with pytest.raises(UserError, match="--yes"):
        clean.main([str(full)])
    assert clean.main([str(full), "--json"]) == 0
    assert left(full) == before
    assert json.loads(capsys.readouterr().out.rpartition("\n{")[2].join(["{", ""]))[str(full)]["logs"]


@pytest.mark.parametrize(
    ("words", "said"), [(["--kinds", "log"], "Did you mean logs"), ([], "no folder of a sweep")]
)
def test_what_cannot_be_cleaned_is_refused(runs, words, said):
    with pytest.raises(UserError, match=said):
        clean.main([str(runs / "no_sweep" if not words else runs / "night"), *words])
