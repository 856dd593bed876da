"""What the user sees."""

import io
from dataclasses import replace

import fakes
import pytest

from svdsweep.runner.progress import Bar, Lines, clock, for_terminal, headline
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
    assert [line.split("]")[0] for line in lines[1:4]] == [
        "[1/4, 1:01 left",
        "[2/4, 1:01 left",
        "[3/4, 1:01 left",
    ]
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


def test_a_bar_counts_each_status_in_their_order_and_rounds_and_others_jobs_too():
    bar = Bar(Terminal())
    bar.opened(4, [f"host-1-cpu{i}" for i in range(3)])
    bar.started("host-1-cpu1", fakes.job(1), 2)
    assert "cpu1: " + fakes.job(1).key + " (attempt 2), " in bar.lines["host-1-cpu1"].desc
    bar.reached("host-1-cpu1", "denoise", 0.0)
    assert "cpu1: denoise, 0.00 GiB of " in bar.lines["host-1-cpu1"].desc
    bar.started("host-1-cpu2", fakes.job(1), 1)
    bar.reached("host-1-cpu2", "denoise", None)
    assert "cpu2: denoise of " + fakes.job(1).key + "," in bar.lines["host-1-cpu2"].desc
    for status in ("failed", "ok", "failed"):
        bar.finished("host-1-cpu1", Row(fakes.job(1), status), None)
    bar.elsewhere(2)
    bar.added(3)
    assert (bar.bar.n, bar.bar.total, bar.bar.postfix) == (5, 7, "ok 1, failed 2")
    assert "cpu1: idle" in bar.lines["host-1-cpu1"].desc
    bar.closed()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3600.2, "1:00:00"), (90061, "25:01:01")],
)
def test_seconds_as_a_person_reads_them(seconds, text):
    assert clock(seconds) == text


def test_a_row_is_one_line_with_where_it_ended_and_which_attempt_it_was():
    job = replace(fakes.job(3, "rocket"), motion_bucket_id=60, noise_aug_strength=0.1)
    about = "tiny baseline rocket seed 3 motion 60 noise 0.1"
    told = [
        headline(row)
        for row in (
            Row(job, "ok", attempt=2, phase="denoise", values={"total_s": 2.5}),
            Row(job, "oom", attempt=2, phase="denoise", error="no room\nat all"),
            Row(job, "crashed", attempt=2, error="gone"),
        )
    ]
    assert told == [
        f"{job.key} ok 2.50 s, {about}",
        f"{job.key} oom in denoise, {about}: no room",
        f"{job.key} crashed (attempt 2), {about}: gone",
    ]


def test_the_last_line_tells_no_time_left_and_what_others_did_and_rounds_add_count():
    heard = io.StringIO()
    lines = Lines(heard)
    lines.opened(2, ["a-1"])
    lines.elsewhere(1)
    lines.added(1)
    row = Row(fakes.job(), "ok")
    lines.finished("a-1", row, 5.0)
    lines.finished("a-1", row, 5.0)
    assert [line.split("]")[0] for line in heard.getvalue().splitlines()[1:]] == ["[2/3, 0:05 left", "[3/3"]
