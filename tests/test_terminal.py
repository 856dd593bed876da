"""The terminal shows what varies, how it ended and what is best, and nothing that is not known."""

import re

from svdsweep import terminal
from svdsweep.config import Job, Memory
from svdsweep.store.rows import Row


def ok(seed=0, memory="baseline", **values):
    return Row(Job(seed=seed, memory=Memory(name=memory, offload="none")), "ok", values=values)


def test_the_least_time_and_memory_carry_a_star_and_nothing_else_does():
    rows = [ok(1, total_s=2.0, host_ram_peak_gib=1.0), ok(2, total_s=1.5, host_ram_peak_gib=3.0)]
    shown = terminal.outcome(rows, [])
    assert sorted(re.findall(r"[\d.]+\*", shown)) == ["1*", "1.5*"]


def test_equal_values_have_no_best_and_motion_has_no_better_direction():
    rows = [ok(1, total_s=2.0, motion_px=1.0), ok(2, total_s=2.0, motion_px=3.0)]
    assert "*" not in terminal.outcome(rows, ["motion_px"])


def test_what_is_unknown_is_a_dash_and_a_column_that_nobody_has_is_left_out():
    shown = terminal.outcome([ok(1, total_s=2.0, load_s=1.0), ok(2, total_s=3.0)], ["lpips_adj"])
    assert " - " in shown
    assert "lpips_adj" not in shown
    assert "vram" not in shown


def test_vram_takes_the_place_of_host_ram_where_there_is_a_gpu():
    shown = terminal.outcome([ok(1, vram_allocated_peak_gib=7.5, host_ram_peak_gib=1.0)], [])
    assert "vram_gib" in shown
    assert "ram_gib" not in shown.replace("vram_gib", "")


def test_statuses_are_counted_and_their_reasons_told_once():
    rows = [Row(Job(seed=i), "oom", error="CUDA out of memory", phase="vae_decode") for i in range(5)] + [
        ok(9)
    ]
    assert terminal.counts(rows, todo=2) == "1 ok, 5 oom, 2 to do"
    told = terminal.troubles(rows)
    assert told.count("CUDA out of memory") == 1
    assert "and 2 more" in told


def test_a_long_table_says_what_it_leaves_out():
    rows = [ok(i, total_s=float(i)) for i in range(terminal.LINES + 5)]
    assert terminal.outcome(rows, []).splitlines()[-1] == "… and 5 more"


def test_no_rows_is_said():
    assert terminal.outcome([], []) == "no rows yet"
    assert terminal.counts([]) == "nothing yet"
