"""Sweeps that version 0.1.0 made, with every status: they go on, and every verb that reads one reads them."""

import json
import shutil
from pathlib import Path

import fakes
import pandas as pd
import pytest

import svdsweep
from svdsweep.cli import main
from svdsweep.commands import run
from svdsweep.store.rows import Store

KEPT = Path(__file__).parent / "data" / "kept_sweeps"
NAMES = ("strategies", "endings")


def statuses(folder: Path) -> dict[str, str]:
    return {key: row.status for key, row in Store(folder).rows().items()}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in NAMES:
        shutil.copytree(KEPT / name, tmp_path / name)
    return tmp_path


def settings(name: str, but: str = "") -> list[str]:
    """What was typed to make a sweep, without one setting."""
    typed = json.loads((KEPT / name / "sweep.json").read_text(encoding="utf-8"))["settings"]
    return [setting for setting in typed if setting.partition("=")[0] != but]


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_what_they_were(name: str) -> None:
    stored = [
        json.loads(line)["key"]
        for path in (KEPT / name / "rows").iterdir()
        for line in path.open(encoding="utf-8")
    ]
    assert list(Store(KEPT / name).rows()) == stored


def test_a_finished_sweep_runs_nothing_again(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (runs / "strategies" / "rows").iterdir()
    sizes = {path: path.stat().st_size for path in before}
    assert main([*settings("strategies"), f"runs_dir='{runs}'", "runner.devices=cpu"]) == 0
    err = capsys.readouterr().err
    assert "12 ok, 4 rejected" in err
    assert "to do" not in err
    assert {path: path.stat().st_size for path in (runs / "strategies" / "rows").iterdir()} == sizes


def test_what_did_not_end_well_is_to_do_again_and_nothing_else(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(KEPT))
    assert main(["plan", *settings("endings"), f"runs_dir='{runs}'", "runner.devices=cpu", "--json"]) == 0
    states = [job["state"] for job in json.loads(capsys.readouterr().out)["jobs"]]
    assert sorted(states) == ["ok", "oom", "to do", "to do", "to do"]


def test_a_wider_grid_runs_only_what_is_new(
    runs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        run, "load_worker", fakes.load_noop
    )  # which job runs is asked, and not what comes of it
    before = Store(runs / "endings").rows()
    wider = ["memory.extra=[]", "seed=0,1", f"runs_dir='{runs}'", "runner.devices=cpu"]
    sweep = svdsweep.run([*settings("endings", but="memory.extra"), *wider])
    out, err = capfd.readouterr()
    assert not out, "standard output is the script's own"
    assert "2 jobs, 1 ok, 1 to do" in err
    new = [
        (row.job.seed, row.status, row.attempt) for key, row in sweep.rows.items() if row != before.get(key)
    ]
    assert new == [(1, "ok", 1)]
    assert sweep.folder == runs / "endings"


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("name", NAMES)
def test_every_job_is_reported(runs: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(runs / name)]) == 0
    assert not capsys.readouterr().err
    page = (runs / name / "report.html").read_text(encoding="utf-8")
    text = (runs / name / "report.md").read_text(encoding="utf-8")
    assert all(key in page for key in statuses(runs / name))
    for status in set(statuses(runs / name).values()) - {"ok"}:
        assert f"| {status} |" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_the_columns_and_values_that_it_had(name: str, tmp_path: Path) -> None:
    from svdsweep.analysis.files import write_results

    then = pd.read_csv(KEPT / name / "results.csv").set_index("key")
    write_results(tmp_path, Store(KEPT / name).rows().values())
    now = pd.read_csv(tmp_path / "results.csv").set_index("key")
    pd.testing.assert_frame_equal(now.loc[then.index, list(then.columns)], then)


def test_it_compares_with_itself_without_a_difference(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(runs / "strategies")
    assert main(["compare", folder, str(KEPT / "strategies"), "--fail-above", "1%", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert sum(change["pairs"] for change in document["changes"]) == 12
    assert not any(change["regressed"] for change in document["changes"])
    assert not document["differing"]


def test_parts_of_it_merge_to_the_whole(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (KEPT / "strategies" / "rows").iterdir()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for name, part in (("a", lines[:9]), ("b", lines[7:])):
        (runs / name / "rows").mkdir(parents=True)
        (runs / name / "rows" / f"{name}-1.jsonl").write_text("".join(part), encoding="utf-8")
    assert main(["merge", str(runs / "a"), str(runs / "b"), "--into", str(runs / "whole")]) == 0
    assert statuses(runs / "whole") == statuses(KEPT / "strategies")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_watched_and_opened(runs: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(runs / name), "--json"]) == 0
    standing = json.loads(capsys.readouterr().out)
    assert standing["jobs"] == sum(standing["statuses"].values()) == len(statuses(runs / name))
    assert not svdsweep.open(runs / name).problems
