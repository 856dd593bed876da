"""The tables that a sweep leaves: every row and every raw value, whatever the rows lack."""

import io
import re
from dataclasses import replace

import made_up
import pandas as pd
import pytest

from svdsweep import cli
from svdsweep.analysis import files
from svdsweep.analysis.files import inert, raw_series, results, write_results
from svdsweep.config import Memory
from svdsweep.store.columns import flat, union
from svdsweep.store.rows import Row, Store

ROWS = [
    made_up.ok(made_up.job(seed=0), [1.5, 2], never=None, flag=True, count=3),
    Row(made_up.job(seed=1), "failed", error="boom", phase="denoise"),
    made_up.ok(made_up.job(seed=2), [3.0], flag=None, late="word"),
    Row(made_up.job(seed=3), "ok", series={"step_s": [[0.1, 0.2], [0.3]], "motion_px": [1, None, 2.5]}),
]


def test_results_are_one_line_a_row_of_all_columns():
    lines = [flat(row) for row in ROWS]
    plain = pd.DataFrame(lines, columns=union(lines)).convert_dtypes()
    pd.testing.assert_frame_equal(results(ROWS), plain)
    assert len(results([])) == 0


def test_raw_values_are_in_long_form_with_the_run_of_each_step():
    found = raw_series(ROWS).drop(columns="key").to_numpy().tolist()
    unknown = pd.NA
    assert str(found) == str(
        [
            ["total_s", unknown, 0, 1.5],
            ["total_s", unknown, 1, 2.0],
            ["total_s", unknown, 0, 3.0],
            *(["step_s", 0, 0, 0.1], ["step_s", 0, 1, 0.2], ["step_s", 1, 0, 0.3]),
            *(["motion_px", unknown, 0, 1.0], ["motion_px", unknown, 2, 2.5]),
        ]
    )


def test_words_among_numbers_are_text_in_parquet_and_numbers_stay_numbers(tmp_path):
    rows = [
        made_up.ok(made_up.job(seed=i, decode_chunk_size=size), [1.5]) for i, size in enumerate(("all", 2))
    ]
    write_results(tmp_path, rows)
    table = pd.read_parquet(io.BytesIO((tmp_path / "results.parquet").read_bytes()))
    assert table["decode_chunk_size"].tolist() == ["all", "2"]
    assert (table["seed"].tolist(), table["total_s"].tolist()) == ([0, 1], [1.5, 1.5])


def test_markdown_shows_what_varies_and_every_measurement_of_the_first_rows(monkeypatch):
    monkeypatch.setattr(files, "IN_MARKDOWN", 2)
    rows = [
        Row(made_up.job(seed=i, fps=fps), "ok", values=v)
        for i, fps, v in ((0, 7, {"a": 1}), (1, 7, {"b": 0.12345}))
    ]
    rows += [Row(made_up.job(seed=2, fps=8), "oom", values={"c": 1.0})] * 2
    head, _, *lines, _, more = files.markdown(rows).splitlines()
    assert head == "| key | seed | fps | status | a | b |"
    assert lines == [f"| {rows[0].key} | 0 | 7 | ok | 1 |  |", f"| {rows[1].key} | 1 | 7 | ok |  | 0.1235 |"]
    assert more == "2 more rows are in results.csv."


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+x", "-x", "@SUM(1)", "\t=1", "\r=1")),
        *((text, f"'{text}") for text in ("-", "--1", "-1+1", "\uff1d1")),
        *((text, text) for text in ("-1.5", "+2e-3", "-7", "1=1", "a-b", "'=1", "", " =1")),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_would_compute_is_text(text, cell):
    table = pd.DataFrame({"name": [text, None], "total_s": [-1.5, 2.0]})
    assert inert(table)["name"].tolist()[0] == cell
    assert inert(table.convert_dtypes())["name"].tolist()[0] == cell
    assert inert(table)["total_s"].tolist() == [-1.5, 2.0]


@pytest.mark.usefixtures("no_drawing")
def test_no_table_of_a_sweep_holds_a_formula(tmp_path):
    strategies = {"baseline": Memory(), "=1+1": Memory(name="=1+1", offload="model")}
    made_up.sweep(tmp_path / "s", range(3), (60,), strategies, change=lambda row: replace(row, error="@x"))
    rows = list(Store(tmp_path / "s").rows().values())
    write_results(tmp_path / "s", rows)
    assert cli.main(["report", str(tmp_path / "s")]) == 0
    assert cli.main(["seeds", str(tmp_path / "s"), "--csv", str(tmp_path / "s" / "seeds.csv")]) == 0
    for name in ("results", "strategies", "seeds"):
        text = (tmp_path / "s" / f"{name}.csv").read_text(encoding="utf-8")
        assert re.search(r"(^|[,\n])'=1\+1", text)
        assert not re.search(r"(^|[,\n])\"?[=@]", text)


def test_the_files_hold_what_the_tables_do(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SERIES_AT_ONCE", 1)
    for rows in (ROWS, ROWS[1:2]):
        write_results(tmp_path, rows)
        pd.testing.assert_frame_equal(
            pd.read_parquet(io.BytesIO((tmp_path / "series.parquet").read_bytes())), raw_series(rows)
        )
        assert pd.read_csv(tmp_path / "results.csv")["key"].tolist() == [row.key for row in rows]
        assert pd.read_parquet(io.BytesIO((tmp_path / "results.parquet").read_bytes()))[
            "status"
        ].tolist() == [row.status for row in rows]
        assert "failed" in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("results.csv", "results.parquet", "results.md", "series.parquet")
    }
