"""What the page and its Markdown say of a sweep, word by word."""

import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import made_up
import pytest

from svdsweep.analysis.documentation import Claim
from svdsweep.analysis.pairs import NO_PAIR, Estimate
from svdsweep.analysis.strategies import Choice
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Memory
from svdsweep.report import failures, markdown, page
from svdsweep.report.failures import Failure
from svdsweep.report.render import html
from svdsweep.report.words import MEMORY_WORDS, change, difference, shown, verdict
from svdsweep.store.rows import Row, Store

RATIO = Estimate(0.8214, 0.7, 0.95, 6, "faster")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *((1234.56, "1235"), (0.123456, "0.1235"), (0.0, "0"), (7, "7"), (True, "yes"), (False, "no")),
        *((None, "–"), (float("nan"), "–"), ("exact", "exact")),
    ],
)
def test_a_value_is_shown_with_four_digits_and_what_is_unknown_is_a_dash(value, words):
    assert shown(value) == words


def test_an_estimate_is_told_with_its_interval_where_it_has_one():
    alone = replace(RATIO, low=None, high=None)
    assert [change(e) for e in (RATIO, alone, NO_PAIR)] == ["0.821× (0.7–0.95)", "0.821×", "–"]
    assert [difference(e) for e in (RATIO, alone, NO_PAIR)] == ["+0.821 (+0.7 to +0.95)", "+0.821", "–"]
    few = replace(RATIO, verdict="no difference seen", needed=40)
    more = "no difference seen; about 40 pairs would find 10 %"
    assert [verdict(e) for e in (RATIO, few, NO_PAIR)] == ["faster", more, "–"]


def lines_of(table: str) -> list[list[str]]:
    """The cells of a Markdown table."""
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in table.splitlines()]


def several():
    """Two strategies, one of which has lost a job; seeds 0 and 1."""
    strategies = (
        made_up.STRATEGIES["baseline"],
        made_up.STRATEGIES["compile"],
        Memory(name="broken", offload="model"),
    )
    rows = []
    for memory, total_s, gib in zip(strategies, (10.0, 8.0, 1.0), (30.0, 31.0, 2.0), strict=True):
        for seed in range(2):
            job = made_up.job(memory, seed=seed)
            if memory.name == "broken" and seed:
                rows.append(Row(job, "oom", error="no room", phase="denoise", provenance=made_up.GPU))
                continue
            taken = {"vram_allocated_peak_gib": gib, "vram_reserved_peak_gib": gib + 1}
            rows.append(made_up.ok(job, [total_s + seed] * 3, motion_px=2.0 + seed, **taken))
    return rows


@pytest.fixture(scope="module")
def here():
    """What their page shows."""
    return page.gather(made_up.in_memory(*several()))


def test_the_table_of_strategies_has_each_number_under_its_head(here):
    head, _, *lines = lines_of(markdown._strategies(here))
    assert head[:5] == ["strategy", "jobs", "latency (s)", "memory (GiB)", "latency ÷ baseline"]
    assert head[5:] == ["", "memory ÷ baseline", "frames", "Δ motion\\_px", "best"]
    assert [[*line[:4], line[7], line[9]] for line in lines] == [
        ["baseline", "2 ok", "10.5", "30", "baseline", "front"],
        ["broken", "1 ok, 1 oom", "1", "2", "exact", ""],
        ["compile", "2 ok", "8.5", "31", "exact", "front"],
    ]
    ratios = [[line[i].partition(" ")[0] for line in lines] for i in (4, 6, 8)]
    assert ratios == [["–", "0.1×", "0.809×"], ["–", "0.0667×", "1.03×"], ["–", "+0", "+0"]]  # √(8/10 · 9/11)


class Cells(HTMLParser):
    """The rows of a page's tables as lists of words, and all its words."""

    def __init__(self, page: str):
        super().__init__()
        self.rows, self.words, self.inside = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        words = " ".join(data.split())
        if words and not {"style", "script"} & {*self.inside}:
            self.words.append(words)
            if {"td", "th"} & {*self.inside}:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {words}".strip()


def test_the_page_has_each_number_of_a_strategy_under_its_head(here):
    known = {
        "total_s": 1234.5678,
        "memory_gib": 20.0,
        "reserved_gib": 21.5,
        "psnr_db": 40.0,
        "equality": "near",
    }
    less, lower = Estimate(0.5, 0.4, 0.6, 6, "less"), Estimate(-0.5, -0.6, -0.4, 6, "worse")
    one = made_up.strategy(
        "one", **known, machine="A", latency=RATIO, memory=less, metrics={"motion_px": lower}, faults=2
    )
    other = made_up.strategy(
        "other", machine="B", total_s=9.0, reserved_gib=9.5, statuses={"ok": 1, "oom": 1}, metrics={}
    )
    lost = made_up.strategy("lost", machine="B", statuses={"oom": 2})
    failed = Failure("failed", "load", "boom", [f"k{i}" for i in range(13)])
    shown = replace(
        here, strategies=[one, other, lost], front=[one], budgets=[("here", [Choice(24, one, other)])]
    )
    text = html(replace(shown, failures=[failed], plots=[]))
    assert 'data-sort="1234.5678">1235<' in text
    said = Cells(text)
    head, *rows = [row for row in said.rows if len(row) == 11]
    assert head[:7] == ["strategy", "machine", "jobs", "latency (s)", "÷ baseline", "verdict", "VRAM (GiB)"]
    assert head[7:] == ["÷ baseline", "frames", "PSNR to baseline (dB)", "Δ motion_px"]
    nothing = ["–"] * 6
    assert rows == [
        [
            *("one ★", "A", "1 ok", "1235", "0.821× (0.7–0.95)", "faster", "20", "0.5× (0.4–0.6)"),
            *("near 2 faults", "40", "-0.5 (-0.6 to -0.4) worse"),
        ],
        ["other", "B", "1 ok 1 oom", "9", "–", *nothing],
        ["lost", "B", "2 oom", "out of memory", "–", *nothing],
    ]
    assert ["24 GiB", "one · 1235 s · 21.5 GiB", "other · 9 s · 9.5 GiB"] in said.rows
    assert "and 1 more" in said.words
    alike = replace(one, workload="another clip", machine="A")
    said = Cells(html(replace(shown, strategies=[one, alike], plots=[])))
    assert [row[:2] for row in said.rows if len(row) == 11] == [
        *(["strategy", "workload"], ["one ★", "a clip"], ["one", "another clip"])
    ]


def test_a_sweep_with_a_gpu_names_it_and_one_without_its_processor():
    gpu, cpu = made_up.ok(made_up.job(seed=1)), made_up.ok(made_up.job(seed=2), provenance={"cpu": "a chip"})
    for rows, kind, memory in (
        ([replace(gpu, values={**gpu.values, "vram_allocated_peak_gib": 3.0}), cpu], "GPU", "VRAM"),
        (
            [replace(cpu, values={**cpu.values, "host_ram_peak_gib": 3.0})],
            "processor (no GPU)",
            "host memory",
        ),
    ):
        gathered = replace(page.gather(made_up.in_memory(*rows)), plots=[])
        assert f"3 GiB of {memory}" in gathered.answer[0].sentence
        text = html(gathered)
        words = Cells(text).words
        assert kind in words
        assert f'title="{MEMORY_WORDS[gathered.sweep.memory_column]}"' in text
        assert f"{memory} (GiB)" in words


def test_the_answer_leaves_out_a_strategy_that_lost_a_job(here):
    (told,) = here.answer
    assert (
        "take memory=compile, 8.5 s a video (0.809 × the baseline's time) and 31 GiB of VRAM" in told.sentence
    )
    assert told.sentence.endswith("not all jobs ended well of broken.")


def test_where_workloads_or_machines_differ_each_line_names_both(here):
    for names in (("workload",), ("machine",)):
        apart = [made_up.strategy("s", **dict.fromkeys(names, value)) for value in ("one", "two")]
        _, _, *lines = lines_of(markdown._strategies(replace(here, strategies=apart)))
        assert [line[0] for line in lines] == [f"s ({s.workload}, {s.machine})" for s in apart]


def test_markdown_has_claims_environment_and_what_to_mind_and_nothing_of_it_is_markup(here):
    claim = Claim("it is so", "0.8×", "0.7 to 0.9", "holds", "3 pairs")
    machine = [("torch", ["2.15", "2.16"])]
    text = markdown.text(replace(here, claims=[claim], environment=machine, said=[r"a\b & <c>"], budgets=[]))
    assert "| it is so | holds | 0.8× | 0.7 to 0.9 | 3 pairs |" in text
    assert "| torch | 2.15, 2.16 |" in text
    assert r"* a\\b &amp; &lt;c&gt;" in text


def test_a_card_names_the_fastest_and_the_fastest_that_keeps_the_frames():
    fast, faithful = made_up.strategy("fast", total_s=8.0), made_up.strategy("faithful", total_s=9.0)
    head, _, *lines = lines_of(
        markdown._budgets("here", [Choice(24, fast, faithful), Choice(6, None, None)])[6:]
    )
    assert head == ["card", "fastest", "fastest that keeps the frames"]
    assert lines == [["24 GiB", "fast, 8 s", "faithful, 9 s"], ["6 GiB", "none", "none"]]


def test_a_page_says_how_its_jobs_ended_and_lists_them_in_order(here):
    assert here.counts == {"ok": 5, "oom": 1}
    assert [s.name for s in here.front] == ["baseline", "compile"]
    assert here.columns == [
        *("key", "memory", "seed", "status", "total_s", "vram_allocated_peak_gib", "motion_px"),
        *("psnr_to_baseline_db", "equality"),
    ]
    cells = [line["cells"][1:6] for line in here.lines]
    assert cells[:4] == [
        ["baseline", 0, "ok", 10.0, 30.0],
        ["baseline", 1, "ok", 11.0, 30.0],
        ["compile", 0, "ok", 8.0, 31.0],
        ["compile", 1, "ok", 9.0, 31.0],
    ]
    assert [line["error"] for line in here.lines] == ["", "", "", "", "", "no room"]
    assert here.grid["values"] == {"memory": ["baseline", "compile", "broken"], "seed": ["0", "1"]}
    assert [tile["status"] for tile in here.grid["tiles"]] == ["ok"] * 5 + ["oom"]
    assert here.grid["tiles"][2]["label"] == "8 s, 31 GiB"
    assert here.grid["tiles"][2]["base"] == here.grid["tiles"][0]["key"]
    machine = dict(here.environment)
    assert machine["gpu"] == ["NVIDIA RTX 4090"]
    assert machine["torch"] == ["2.15.0"]


def test_a_table_with_too_many_jobs_has_those_that_did_not_end_well_and_then_the_first(monkeypatch):
    monkeypatch.setattr(page, "ROWS_AT_MOST", 3)
    sweep = made_up.in_memory(*several())
    lines = page._lines(sweep, ["memory", "seed", "status"])
    assert [line["cells"] for line in lines] == [
        ["broken", 1, "oom"],
        ["baseline", 0, "ok"],
        ["baseline", 1, "ok"],
    ]
    listed = "the table lists 3 of 6 jobs (the failed ones first); all are in results.csv"
    assert page._said(sweep) == [listed]
    monkeypatch.setattr(page, "TILES_AT_MOST", 5)
    assert page._said(sweep) == [listed, "the video grid holds the first 5 of 6 jobs"]
    monkeypatch.setattr(page, "ROWS_AT_MOST", 6)
    monkeypatch.setattr(page, "TILES_AT_MOST", 6)
    assert page._said(sweep) == []
    missing = replace(sweep, manifest={"keys": [*sweep.jobs, "another"]})
    assert page._said(missing) == [
        "1 jobs of the last command have no row yet: this is a picture of a sweep under way"
    ]


def test_each_place_with_a_gpu_that_counted_has_its_cards():
    known = {"statuses": {"ok": 1}, "total_s": 1.0, "reserved_gib": 7.0}
    one, elsewhere = (made_up.strategy("one", machine=machine, **known) for machine in "AB")
    uncounted = [made_up.strategy("two", machine=machine) for machine in "AC"]
    (name, choices), (other, _) = page._budgets([one, *uncounted, elsewhere])
    assert (name, other) == ("a clip, A", "a clip, B")
    assert [choice.gib for choice in choices if choice.fastest is one] == [8, 12, 16, 24, 48, 80]


def test_a_job_has_its_files_and_notes_and_differing_machines_are_told(tmp_path: Path):
    files = {"video": "videos/a.mp4", "contact_sheet": "sheets/a.png"}
    one = made_up.ok(made_up.job(seed=1), **files)
    rows = [
        replace(one, notes=["slow"]),
        made_up.ok(
            made_up.job(made_up.STRATEGIES["compile"], seed=2), provenance={**made_up.GPU, "torch": "2.16"}
        ),
    ]
    for row in rows:
        Store(tmp_path).append(row)
    gathered = page.gather(open_sweep(tmp_path))
    line, other = gathered.lines
    assert (line["video"], line["sheet"], line["notes"], other["notes"]) == (*files.values(), ["slow"], [])
    assert line["command"].startswith("python -m svdsweep ")
    assert [tile["video"] for tile in gathered.grid["tiles"]] == ["videos/a.mp4", ""]
    assert dict(gathered.environment)["torch"] == ["2.15.0", "2.16"]
    assert "psnr_to_baseline_db" in {column.name for column in page.blind_spots(gathered)}


def test_contact_sheets_are_of_each_strategy_in_turn(monkeypatch):
    monkeypatch.setattr(page, "SHEETS_AT_MOST", 3)
    rows = [
        replace(row, values={**row.values, "contact_sheet": f"{i}.png"})
        for i, row in enumerate(several())
        if row.values
    ]
    sheets = page._sheets(made_up.in_memory(*rows), ["memory", "seed"])
    assert [(sheet["path"], sheet["caption"]) for sheet in sheets] == [
        ("0.png", "memory baseline, seed 0"),
        ("2.png", "memory compile, seed 0"),
        ("4.png", "memory broken, seed 0"),
    ]
    assert [s["caption"] for s in page._sheets(made_up.in_memory(*rows[:1]), [])] == [rows[0].key]


def test_a_reason_is_told_with_its_first_jobs(here):
    keys = [f"k{i}" for i in range(5)]
    bad = [Failure("oom", "denoise", "x" * 400, keys), Failure("failed", "load", "boom", keys[:4])]
    _, _, *lines = lines_of(markdown._failures(replace(here, failures=bad)))
    assert lines == [
        ["oom", "denoise", "x" * 300, "k0, k1, k2, k3 …"],
        ["failed", "load", "boom", "k0, k1, k2, k3"],
    ]


def test_no_more_reasons_than_fit_are_told(monkeypatch):
    monkeypatch.setattr(failures, "FAILURES_AT_MOST", 1)
    rows = [Row(made_up.job(seed=i), "failed", error=f"boom {i}") for i in range(2)]
    assert [f.error for f in failures.failures(made_up.in_memory(*rows))] == ["boom 0"]


def test_the_newest_logs_end_with_their_last_lines(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    for age in range(10):
        path = tmp_path / "logs" / f"w-{age}.log"
        path.write_text("\n".join(f"line {i}" for i in range(40)), encoding="utf-8")
        os.utime(path, (10_000 - age, 10_000 - age))
    with (tmp_path / "logs" / "w-1.log").open("a", encoding="utf-8") as log:
        log.write("\n".join(["x" * 500] * 25))
    os.utime(tmp_path / "logs" / "w-1.log", (9_999, 9_999))
    tails = failures.logs(tmp_path)
    assert len(tails[1][1].splitlines()) == 25
    assert [name for name, _ in tails] == [f"w-{age}.log" for age in range(8)]
    assert tails[0][1].splitlines() == [f"line {i}" for i in range(15, 40)]


def test_the_command_is_told_as_a_shell_takes_it():
    sweep = replace(made_up.in_memory(*several()), manifest={"settings": ["seed=0,1", "image='a b'"]})
    assert page.settings_line(sweep) == """python -m svdsweep seed=0,1 'image='"'"'a b'"'"''"""
