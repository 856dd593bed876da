"""The terminal counts what ended and how, and tells each reason once."""

from svdsweep import terminal
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
