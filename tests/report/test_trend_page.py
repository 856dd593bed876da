"""A trend as a table, Markdown, a page and plots: through the command line."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import made_up
import pytest

from svdsweep import cli
from svdsweep.analysis.trend import Point, Trend
from svdsweep.report import trend
from svdsweep.report.trend_plots import draw_all
from svdsweep.store.rows import Row

NIGHTS = {"night-1": (3, "A <card>", 1.0), "night-2": (5, "A <card>", 1.0), "night-3": (9, "B", 0.5)}


def of_night(day: int, card: str, ratio: float, row: Row) -> Row:
    began = {"started_at": f"2026-11-{day:02}T10:00:00+00:00"}
    runs = [s * ratio for s in row.series["total_s"]]
    facts = {**row.provenance, "gpu": card, "git": f"commit{day}"}
    return dataclasses.replace(
        row, values={**row.values, **began}, series={"total_s": runs}, provenance=facts
    )


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Three sweeps of three nights, the last on another card."""
    folder = tmp_path_factory.mktemp("nights")
    strategies = {name: made_up.STRATEGIES[name] for name in ("baseline", "compile")}
    for name, night in NIGHTS.items():
        made_up.sweep(
            folder / name, buckets=(60, 120), strategies=strategies, change=partial(of_night, *night)
        )
    return folder


def trend_of(folder, *more: str) -> int:
    return cli.main(["compare", "--trend", *(str(folder / name) for name in reversed(NIGHTS)), *more])


def test_each_strategy_has_a_table_with_the_oldest_sweep_first(nights, capsys):
    assert trend_of(nights) == 0
    baseline, compiled = capsys.readouterr().out.split("\n\n")
    assert baseline.startswith("baseline, ")
    title, header, *lines = compiled.splitlines()
    assert title.startswith("compile, ")
    assert header.split() == list(trend.HEADER)
    assert [Path(line.split("  ")[0]).name for line in lines] == list(NIGHTS)
    assert "2026-11-05 10:00" in lines[1]
    assert "no difference seen, against" in lines[1]
    assert lines[2].endswith("the first on this machine")


def test_one_strategy_is_asked_for_and_json_holds_every_point(nights, capsys):
    assert trend_of(nights, "--strategy", "compile", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["strategies"]
    assert found["strategy"] == "compile"
    assert [p["started_at"][:10] for p in found["points"]] == ["2026-11-03", "2026-11-05", "2026-11-09"]
    assert found["points"][1]["change"]["latency"]["verdict"] == "no difference seen"


def test_the_page_and_the_markdown_show_every_sweep_and_escape_what_rows_say(nights, capsys):
    files = [nights / "t.html", nights / "t.md"]
    assert trend_of(nights, "--page", str(files[0]), "--markdown", str(files[1])) == 0
    page, markdown = (file.read_text(encoding="utf-8") for file in files)
    assert page.count("<svg") == 2
    assert page.count("night-3") > 2
    assert "A &lt;card&gt;" in page
    assert "A <card>" not in page
    assert "solid: A &lt;card&gt;; dashed: B" in page
    assert markdown.count("\n## ") == 2
    assert markdown.count("night-3") == 2


def test_the_gate_looks_at_the_newest_sweep(tmp_path, capsys):
    for day, ratio in enumerate((1.0, 1.3, 1.3), 1):
        change = partial(of_night, day, "A", ratio)
        made_up.sweep(
            tmp_path / f"{day}", strategies={"baseline": made_up.STRATEGIES["baseline"]}, change=change
        )
    folders = [str(tmp_path / f"{day}") for day in (1, 2, 3)]
    gate = ["--fail-above", "10%"]
    assert cli.main(["compare", "--trend", *folders, *gate]) == 0
    assert cli.main(["compare", "--trend", *folders[:2], *gate]) == 1
    assert cli.main(["compare", "--trend", *folders[:2]]) == 0


def test_many_sweeps_without_trend_are_refused_with_the_flag_that_takes_them(nights, capsys):
    assert cli.main(["compare", *(str(nights / name) for name in NIGHTS)]) == 2
    assert "with --trend it takes many" in capsys.readouterr().err


def test_sweeps_without_a_row_are_refused(tmp_path, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
    assert cli.main(["compare", "--trend", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "There is no row in" in capsys.readouterr().err


def points(count: int, seconds: float | None, vram_gib: float | None = None) -> list[Point]:
    return [
        Point(f"runs/{n}", f"2026-01-{n + 1:02}", "", "", "A", {"ok": 1}, seconds, None, None, vram_gib)
        for n in range(count)
    ]


def test_a_plot_leaves_out_what_it_cannot_tell_apart_and_of_what_is_unknown_there_is_none():
    many = [Trend(f"s{n}", "w", points(2, 1.0 + n)) for n in range(9)]
    (plot,) = draw_all(many, lambda point: point.sweep)
    assert plot.caption.endswith("2 more strategies are left out.")
    assert plot.tips["trend_total_s_0-1-0"] == "s1: 2, runs/0"
    both = [Trend("s", workload, points(1, 1.0, 2.0)) for workload in ("a", "b")]
    assert [p.name[:-2] for p in draw_all(both, str)] == ["trend_total_s"] * 2 + ["trend_vram_gib"] * 2
    assert draw_all([Trend("s", "w", points(2, None))], str) == []
