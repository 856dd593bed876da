"""The terminal counts what ended and how, tells each reason once, and shows what its encoding can."""

import contextlib
import io
import sys

import pytest

from svdsweep import cli, terminal
from svdsweep.commands import VERBS
from svdsweep.config import Job
from svdsweep.store.rows import Row


def test_statuses_are_counted_and_their_reasons_told_once():
    rows = [Row(Job(seed=i), "oom", error="CUDA out of memory", phase="vae_decode") for i in range(5)] + [
        Row(Job(seed=9), "ok")
    ]
    assert terminal.counts(rows, todo=2) == "1 ok, 5 oom, 2 to do"
    told = terminal.troubles(rows)
    assert told.count("CUDA out of memory") == 1
    assert "and 2 more" in told


def test_three_jobs_of_a_reason_are_named_and_more_are_counted():
    rows = [Row(Job(seed=i), "failed", error="why") for i in range(4)]
    keys = [row.key for row in rows]
    assert terminal.troubles(rows[:3]) == f"failed: why  ({', '.join(keys[:3])})"
    assert terminal.troubles(rows) == f"failed: why  ({', '.join(keys[:3])} and 1 more)"


def test_a_value_is_short_and_a_column_of_numbers_has_nothing_else():
    cells = [terminal.cell(value) for value in (None, True, False, 0.0, 1234.56, 7, "all")]
    assert cells == ["-", "true", "false", "0", "1235", "7", "all"]
    tables = [{"n": 1, "mixed": 2, "some": 0.5}, {"n": 0.0, "mixed": "all", "some": None}]
    assert [terminal.is_number(tables, name) for name in ("n", "mixed", "some")] == [True, False, False]


def test_what_a_terminal_would_obey_is_shown():
    assert (
        terminal.visible("a\x1b[2J\x07\r\u202e\x9b\x00é→\n\tb") == "a\\x1b[2J\\x07\\r\\u202e\\x9b\\x00é→\n\tb"
    )
    assert terminal.table(["x"], [["a\nb\x1bc"]], [False]) == "x\na\\nb\\x1bc"
    assert terminal.troubles([Row(Job(), "failed", error="\x1b]0;title\x07")]).startswith(
        "failed: \\x1b]0;title\\x07"
    )


def test_an_error_shows_what_a_terminal_would_obey(capsys):
    assert cli.main(["watch", "no\x1b[2Jfolder\r"]) == 2
    assert "no\\x1b[2Jfolder\\r is no folder" in capsys.readouterr().err


def test_no_rows_is_said():
    assert terminal.counts([]) == "nothing yet"


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([[verb, "--help"] for verb in VERBS if verb not in cli.GRID_VERBS], "B - A"),
        ([["motion_bücket_id=3"]], "motion_b?cket_id"),
        ([["fps=0"]], "allowed is >= 1 frames/s"),
    ],
    ids=["help of verbs", "an error", "a bound"],
)
def test_what_a_terminal_cannot_show_is_said_otherwise(lines, shown, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, terminal)
    for arguments in lines:
        with contextlib.suppress(SystemExit):
            cli.main(arguments)
    terminal.seek(0)
    assert shown in terminal.read()
