"""What the user sees."""

import io

import fakes
import pytest

from svdsweep.runner.progress import Bar, Lines, clock, for_terminal
from svdsweep.store.rows import Row


class Terminal(io.StringIO):
    def isatty(self):
        return True


def play(watch):
    jobs = [fakes.job(i) for i in range(3)]
    watch.opened(4, ["host-1-gpu0", "host-1-gpu1"])
    for job, status in zip(jobs, ("ok", "oom", "failed"), strict=True):
        watch.started("host-1-gpu0", job, 1)
        watch.reached("host-1-gpu0", "denoise", 3.25)
        row = Row(
            job,
            status,
            error="" if status == "ok" else "why\nand where",
            phase="denoise",
            values={"total_s": 2.5},
        )
        watch.finished("host-1-gpu0", row, 61.0)
    watch.elsewhere(1)
    watch.told("a word")
    watch.closed()
    watch.closed()


def test_plain_lines_where_nobody_watches():
    heard = io.StringIO()
    assert isinstance(for_terminal(heard), Lines)
    play(for_terminal(heard))
    lines = heard.getvalue().splitlines()
    assert lines[0] == "4 jobs on 2 workers: gpu0, gpu1"
    assert lines[1].startswith("[1/4, 1:01 left] ")
    assert " ok 2.50 s" in lines[1]
    assert "oom 2.50 s in denoise" in lines[2]
    assert lines[3].endswith(": why on gpu0")
    assert "\r" not in heard.getvalue()
    assert "and where" not in heard.getvalue()


def test_a_bar_with_counts_and_time_left_and_findings_at_once_on_a_terminal():
    heard = Terminal()
    assert isinstance(for_terminal(heard), Bar)
    play(for_terminal(heard))
    text = heard.getvalue()
    assert "ok 1, oom 1, failed 1, 1:01 left" in text
    assert "gpu0: " in text
    assert "denoise, 3.25 GiB" in text
    assert "4/4" in text
    assert f"{fakes.job(1).key} oom" in text
    assert f"{fakes.job(0).key} ok" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3600.2, "1:00:00"), (90061, "25:01:01")]
)
def test_seconds_as_a_person_reads_them(seconds, text):
    assert clock(seconds) == text
