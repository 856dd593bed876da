"""The table of results shows what varies, how it ended and what is best, and nothing that is not known."""

import dataclasses
import re
import sys
from types import SimpleNamespace

from svdsweep import terminal
from svdsweep.commands.outcome import outcome
from svdsweep.config import Job, Memory, Metrics
from svdsweep.metrics import Column
from svdsweep.store.rows import Row


def ok(seed=0, memory="baseline", **values):
    return Row(Job(seed=seed, memory=Memory(name=memory, offload="none")), "ok", values=values)


def test_the_least_time_and_memory_carry_a_star_and_nothing_else_does():
    rows = [ok(1, total_s=2.0, host_ram_peak_gib=1.0), ok(2, total_s=1.5, host_ram_peak_gib=3.0)]
    shown = outcome(rows)
    assert sorted(re.findall(r"[\d.]+\*", shown)) == ["1*", "1.5*"]


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


def test_a_long_table_says_what_it_leaves_out():
    rows = [ok(i, total_s=float(i)) for i in range(terminal.LINES + 5)]
    assert outcome(rows).splitlines()[-1] == "… and 5 more"


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
