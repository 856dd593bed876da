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
