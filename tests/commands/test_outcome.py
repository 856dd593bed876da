"""The table of results shows what varies, how it ended and what is best, and nothing that is not known."""

import dataclasses
import os
import re
import sys
from types import SimpleNamespace

import pytest

from svdsweep import terminal
from svdsweep.commands.outcome import outcome
from svdsweep.commands.run import show
from svdsweep.config import Job, Memory, Metrics, Runner
from svdsweep.grid.expand import Grid
from svdsweep.metrics import Column
from svdsweep.store.rows import Row


def ok(seed=0, memory="baseline", **values):
    return Row(Job(seed=seed, memory=Memory(name=memory, offload="none")), "ok", values=values)


def test_the_least_time_and_memory_carry_a_star_and_nothing_else_does():
    rows = [ok(1, total_s=2.0, host_ram_peak_gib=1.0), ok(2, total_s=1.5, host_ram_peak_gib=3.0)]
    shown = outcome(rows)
    assert sorted(re.findall(r"[\d.]+\*", shown)) == ["1*", "1.5*"]


def test_a_broken_video_carries_no_star_and_sets_no_best():
    broken = dataclasses.replace(ok(0, total_s=0.5), status="defective", error="All 14 frames are black.")
    equal = dataclasses.replace(ok(3, total_s=1.5), status="failed")
    shown = outcome([broken, ok(1, total_s=2.0), ok(2, total_s=1.5), equal])
    assert re.findall(r"[\d.]+\*", shown) == ["1.5*"]
    assert "defective" in shown


def test_equal_values_have_no_best_and_motion_has_no_better_direction():
    rows = [ok(1, total_s=2.0, motion_px=1.0), ok(2, total_s=2.0, motion_px=3.0)]
    assert "*" not in outcome(rows)


def test_what_is_unknown_is_a_dash_and_a_column_that_nobody_has_is_left_out():
    shown = outcome([ok(1, total_s=2.0, load_s=1.0), ok(2, total_s=3.0)])
    assert " - " in shown
    assert "lpips_adj" not in shown
    assert "vram" not in shown


def test_vram_takes_the_place_of_host_ram_where_there_is_a_gpu():
    shown = outcome([ok(1, vram_allocated_peak_gib=7.5, host_ram_peak_gib=1.0)])
    assert "vram_gib" in shown
    assert "ram_gib" not in shown.replace("vram_gib", "")


@pytest.mark.parametrize(("percent", "shown"), [(0.5, False), (40.0, True)])
def test_throttling_has_a_column_where_it_matters(percent, shown):
    text = outcome(
        [ok(1, throttled_pct=percent, throttle="power cap"), ok(2, throttled_pct=0.0, throttle="")]
    )
    assert ("throttled_pct" in text) is shown
    assert ("40" in text) is shown


def test_a_long_table_says_what_it_leaves_out():
    rows = [ok(i, total_s=float(i)) for i in range(terminal.LINES + 5)]
    assert outcome(rows).splitlines()[-1] == "… and 5 more"


def test_numbers_stand_at_the_right_words_at_the_left_and_a_single_job_shows_its_motion():
    lines = outcome([ok(5, memory="a", total_s=1.0), ok(100, memory="long", total_s=1.0)]).splitlines()
    assert [line[12:] for line in lines] == [
        "  memory  seed  total_s",
        "  a          5        1",
        "  long     100        1",
    ]
    assert outcome([ok(5, total_s=1.0)]).split()[:3] == ["job", "motion_bucket_id", "total_s"]


def test_no_rows_is_said():
    assert outcome([]) == "no rows yet"


def test_a_metric_of_ones_own_is_shown_as_its_module_says(monkeypatch):
    columns = (
        Column("mean_255", "levels", "Mean.", better="higher", headline=2),
        Column("aside", "", "Aside."),
    )
    monkeypatch.setitem(sys.modules, "mine.brightness", SimpleNamespace(COLUMNS=columns))
    job = Job(metrics=Metrics(families=["mine.brightness", "mine.never_imported"]))
    rows = [
        Row(dataclasses.replace(job, seed=seed), "ok", values={"mean_255": 10.0 + seed, "aside": 1.0})
        for seed in (0, 1)
    ]
    assert re.findall(r"\S+\*", outcome(rows)) == ["11*"]
    assert "aside" not in outcome(rows)


def test_every_value_stands_under_its_head():
    rows = [ok(1, total_s=2.0, denoise_s=1.5, adj_psnr_db=40.0), ok(2, total_s=1.0, adj_psnr_db=30.0)]
    rows.append(Row(Job(seed=3, memory=Memory(offload="none")), "oom"))
    header, *lines = (line.split() for line in outcome(rows).splitlines())
    assert header == ["job", "seed", "status", "denoise_s", "total_s", "adj_psnr_db"]
    assert lines == [
        [rows[0].key, "1", "ok", "1.5", "2", "40"],
        [rows[1].key, "2", "ok", "-", "1*", "30"],
        [rows[2].key, "3", "oom", "-", "-", "-"],
    ]


def test_after_the_table_stand_the_counts_the_reasons_and_where_the_videos_are(tmp_path, capsys):
    jobs = [Job(seed=seed) for seed in range(5)]
    rows = [Row(jobs[0], "ok", values={"total_s": 1.0, "video": "videos/a.mp4"}), Row(jobs[1], "ok")]
    rows += [Row(jobs[2], "failed", phase="load", error="first\nboom")]
    grid = Grid(jobs, {}, Runner(), tmp_path, "mine")
    show(grid, rows, as_json=False)
    lines, folder = capsys.readouterr().out.splitlines(), tmp_path / "mine"
    assert lines[5:] == [
        "2 ok, 1 failed, 2 to do",
        f"failed in load: boom  ({jobs[2].key})",
        f"report   {folder / 'report.html'}",
        f"table    {folder / 'results.csv'}  (.parquet, .md)",
        f"videos   {folder / 'videos'}{os.sep}  (1; contact sheets in {folder / 'sheets'}{os.sep})",
    ]
