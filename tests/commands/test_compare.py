"""Two sweeps, job by job: what got worse stands first and closes the gate."""

import dataclasses
import json

import made_up
import pytest

from svdsweep import cli
from svdsweep.analysis.pairs import UNSEEN, Estimate
from svdsweep.analysis.versus import Change, Comparison
from svdsweep.commands import compare
from svdsweep.report import render
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
    assert cli.main(["compare", *folders, "--fail-above", "0", "--page", str(tmp_path / "c.html")]) == 1
    assert "the gate is 0 %" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert cli.main(["compare", *folders, "--fail-above", "0.3"]) == 0
    assert cli.main(["compare", *folders]) == 0


def test_the_gate_looks_behind_a_slower_strategy_for_a_larger_one(tmp_path):
    def changed(row: Row) -> Row:
        if row.job.memory.name == "compile":
            row = dataclasses.replace(row, series={"total_s": [v * 1.05 for v in row.series["total_s"]]})
        if row.job.memory.name == "forward_chunking":
            peaks = {name: 1.5 * v for name, v in row.values.items() if name.startswith("vram_")}
            row = dataclasses.replace(row, values={**row.values, **peaks})
        return row

    folders = two(tmp_path, changed)
    assert [cli.main(["compare", *folders, f"--fail-above={gate}"]) for gate in ("10%", "60%")] == [1, 0]


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


@pytest.mark.parametrize(
    ("words", "value"), [("10%", 0.1), ("0.1", 0.1), ("0", 0.0), ("250%", 2.5), ("99.5", 99.5)]
)
def test_a_share_is_a_ratio_or_percent(words, value):
    assert compare.share(words) == pytest.approx(value)


def estimate(value, verdict, half=0.01):
    return Estimate(value, value - half, value + half, 6, verdict)


def changed(**facts):
    same = {
        "latency": estimate(1.0, UNSEEN),
        "memory": estimate(1.0, UNSEEN),
        "metrics": {},
        "lost": 0,
        "won": 0,
    }
    return Change("compile", "a clip", 6, **{**same, **facts})


def test_a_line_has_each_number_under_its_head():
    verdicts = ("better", UNSEEN, "worse", "higher", "lower", "better", "worse")
    metrics = {f"m{i}": estimate(float(i), verdict, 0.5) for i, verdict in enumerate(verdicts)}
    slower, more = estimate(1.2, "slower"), estimate(1.5, "more")
    line = compare.cells(changed(latency=slower, memory=more, metrics=metrics, lost=1, won=2), 0.3)
    assert dict(zip(compare.HEADER, line, strict=True)) == {
        "strategy": "compile",
        "workload": "a clip",
        "pairs": "6",
        "latency": "1.2× (1.19–1.21)",
        "verdict": "slower",
        "VRAM": "1.5× (1.49–1.51)",
        "metrics": "m0 +0 (-0.5 to +0.5) better; m2 +2 (+1.5 to +2.5) worse; "
        "m3 +3 (+2.5 to +3.5) higher; m4 +4 (+3.5 to +4.5) lower; and 2 more",
        "lost": "1 lost, 2 won",
        "regressed": "1 jobs no longer end well; VRAM +50.0%",
    }
    four = {name: metrics[name] for name in ("m0", "m2", "m3", "m4")}
    assert "more" not in compare.cells(changed(metrics=four), 0.0)[compare.HEADER.index("metrics")]
    plain = dict(zip(compare.HEADER, compare.cells(changed(), 0.0), strict=True))
    assert (plain["metrics"], plain["lost"], plain["regressed"]) == ("no difference seen", "", "")
    assert (
        dict(zip(compare.HEADER, compare.cells(changed(won=2), 0.0), strict=True))["lost"] == "0 lost, 2 won"
    )


def test_the_table_the_markdown_and_the_json_tell_one_gate_and_what_has_no_partner():
    result = Comparison([changed(latency=estimate(1.2, "slower"))], {"torch": ("1", "2")}, 3, 5)
    for above, told in ((0.1, "latency +20.0%"), (0.3, "")):
        terminal = compare.text("b against a", result, above).splitlines()
        assert (terminal[0], terminal[-2]) == ("b against a", "torch: 1 → 2")
        assert terminal[-1] == "without a partner: 3 of the first, 5 of the second"
        lines = compare.markdown("b against a", result, above).splitlines()
        for line in (terminal[2], lines[4].rstrip(" |")):
            assert line.rstrip().endswith(told or "no difference seen")
        assert lines[6:9] == ["| differs | first | second |", "| --- | --- | --- |", "| torch | 1 | 2 |"]
        assert lines[-1] == "Without a partner: 3 of the first, 5 of the second."
        (plain,) = json.loads(compare.document(result, above))["changes"]
        assert plain["regressed"] == [told] * bool(told)


@pytest.mark.parametrize(("alone", "told"), [((3, 0), True), ((0, 5), True), ((0, 0), False)])
def test_jobs_of_either_sweep_that_have_no_partner_are_told(alone, told):
    last = compare.text("b against a", Comparison([changed()], {}, *alone), 0.0).splitlines()[-1]
    assert (last == f"without a partner: {alone[0]} of the first, {alone[1]} of the second") is told


def test_a_page_marks_what_regressed_by_more_than_its_gate(monkeypatch):
    handed = {}
    monkeypatch.setattr(render, "document", lambda _, **facts: handed.update(facts) or "")
    result = Comparison([changed(latency=estimate(1.05, "slower")), changed()], {}, 0, 0)
    for above, marked in ((None, [True, False]), (0.02, [True, False]), (0.3, [False, False])):
        compare.page("b against a", result, above)
        assert [bad for _, bad in handed["lines"]] == marked
        assert handed["above"] == above
