"""Two sweeps, job by job: what got worse stands first and closes the gate."""

import dataclasses
import json

import made_up
import pytest

from svdsweep import cli
from svdsweep.store.rows import Row


def two(tmp_path, change=lambda row: row, **settings):
    made_up.sweep(tmp_path / "old")
    made_up.sweep(tmp_path / "new", change=change, **settings)
    return [str(tmp_path / "old"), str(tmp_path / "new")]


def slower(row: Row) -> Row:
    if row.job.memory.name != "compile":
        return row
    return dataclasses.replace(row, series={"total_s": [v * 1.2 for v in row.series["total_s"]]})


def test_equal_sweeps_pass_the_gate(tmp_path, capsys):
    assert cli.main(["compare", *two(tmp_path), "--fail-above", "10%"]) == 0
    assert "no difference seen" in capsys.readouterr().out


def test_a_slower_strategy_stands_first_and_closes_the_gate(tmp_path, capsys):
    folders = two(tmp_path, slower)
    files = ["--markdown", str(tmp_path / "c.md"), "--page", str(tmp_path / "c.html")]
    assert cli.main(["compare", *folders, "--fail-above=10%", *files]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("compile")
    assert "slower" in lines[2]
    assert "latency +20" in lines[2]
    assert "+20" in (tmp_path / "c.md").read_text(encoding="utf-8")
    assert "latency +20" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert cli.main(["compare", *folders, "--fail-above", "0"]) == 1
    assert cli.main(["compare", *folders, "--fail-above", "0.3"]) == 0
    assert cli.main(["compare", *folders]) == 0


def test_sweeps_of_two_models_are_paired_by_the_rest(tmp_path, capsys):
    folders = two(tmp_path, model=dataclasses.replace(made_up.SVD, dtype="float32"))
    assert cli.main(["compare", *folders, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differing"]["model.source"] == ["default", "x/svd-xt"]
    assert sum(change["pairs"] for change in told["changes"]) == 24


def test_other_versions_are_told(tmp_path, capsys):
    def newer(row: Row) -> Row:
        return dataclasses.replace(row, provenance={**row.provenance, "torch": "3.0"})

    cli.main(["compare", *two(tmp_path, newer)])
    assert "torch: 2.15.0 → 3.0" in capsys.readouterr().out


@pytest.mark.parametrize("gate", ["ten", "-5%", "nan"])
def test_a_share_that_is_none_is_refused(tmp_path, gate, capsys):
    assert cli.main(["compare", "a", "b", f"--fail-above={gate}"]) == 2
    assert "10%" in capsys.readouterr().err


def test_sweeps_without_a_common_job_are_refused(tmp_path, capsys):
    folders = two(tmp_path, seeds=[7, 8], buckets=[1, 2])
    assert cli.main(["compare", *folders]) == 2
    assert "no job in common" in capsys.readouterr().err
