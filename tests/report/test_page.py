"""A page from whatever there is: damaged, empty, only failures; and its Markdown."""

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import made_up
import pytest

from svdsweep import cli
from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.sweep import open_sweep
from svdsweep.config import Gpu, Image, Measure, Memory, Metrics, Model
from svdsweep.metrics import Column
from svdsweep.report import write
from svdsweep.report.page import axes_of
from svdsweep.report.plots import draw_all, headline_metrics
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.rows import Row

EVIL = "<script>alert(1)</script> | [x](http://x)"


def text_of(page):
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A sweep whose page was written, and what was said."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    made_up.sweep(folder)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert cli.main(["report", str(folder)]) == 0
    return folder, said.getvalue()


def test_a_page_and_markdown_with_plots_are_written(reported):
    folder, said = reported
    page = text_of(folder / "report.html")
    assert "compile" in page
    assert page.count('class="tip"') > 10, "what was drawn as PNG is drawn on the page too"
    markdown = text_of(folder / "report.md")
    for plot in ("pareto", "stage_times", "stage_memory", "response_motion_bucket_id", "repeats"):
        assert f"plots/{plot}.png" in markdown
        assert (folder / "plots" / f"{plot}.png").stat().st_size > 3000
    assert "report.html" in said


def test_several_sweeps_are_reported_at_once(tmp_path, capsys):
    pages = []
    for name in ("a", "b"):
        (tmp_path / name / "rows").mkdir(parents=True)
        pages.append(str(tmp_path / name / "report.html"))
    assert cli.main(["report", "--json", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert json.loads(capsys.readouterr().out) == {"reports": pages}
    assert all("no readable row" in text_of(tmp_path / name / "report.html") for name in ("a", "b"))


def test_the_page_begins_with_what_to_take_and_what_needs_the_least_memory(reported):
    page = text_of(reported[0] / "report.html")
    assert "On the NVIDIA RTX 4090: take memory=compile, " in page
    assert "Least memory takes memory=forward_chunking: " in page


def test_nothing_outside_the_folder_is_named(reported):
    page = text_of(reported[0] / "report.html")
    for address in ('src="http', 'href="http', "url(http", "@import", "//cdn"):
        assert address not in page


@pytest.mark.usefixtures("no_drawing")
def test_an_oom_and_a_failure_stand_in_table_and_markdown(tmp_path):
    def spoil(row: Row) -> Row:
        if row.job.memory.name == "compile":
            return Row(
                row.job, "oom", error="tried to allocate 20 GiB", phase="denoise", provenance=made_up.GPU
            )
        if row.job.memory.name == "model_offload" and row.job.seed:
            return Row(row.job, "failed", error=f"boom {EVIL}", phase="load", provenance=made_up.GPU)
        return row

    made_up.sweep(tmp_path, change=spoil)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "w-1.log").write_text("first\n" * 100 + "the last words", encoding="utf-8")
    page = text_of(write(tmp_path))
    assert '<td class="oom"' in page
    assert "tried to allocate 20 GiB" in page
    assert "the last words" in page
    assert "<script>alert" not in page
    markdown = text_of(tmp_path / "report.md")
    assert "6 oom" in markdown
    assert "<script>" not in markdown
    assert "[x](http" not in markdown


@pytest.mark.usefixtures("no_drawing")
def test_a_page_of_failures_says_that_no_job_ended_well(tmp_path):
    made_up.sweep(tmp_path, change=lambda r: Row(r.job, "crashed", error="killed", phase="load"))
    assert "No job ended well" in text_of(write(tmp_path))
    assert (tmp_path / "report.md").exists()


@pytest.mark.usefixtures("no_drawing")
def test_damaged_input_gives_a_page_that_says_what_is_missing(tmp_path):
    def bare(r: Row) -> Row:
        lost = {"video": f"videos/{r.key}.mp4", "contact_sheet": f"sheets/{r.key}.png"}
        return dataclasses.replace(r, values={"total_s": r.values["total_s"], **lost})

    made_up.sweep(tmp_path, change=bare)
    path = next((tmp_path / "rows").glob("*.jsonl"))
    lines = text_of(path).splitlines(keepends=True)[:10]
    lines[8] = lines[8].rpartition(', "crc32"')[0] + "}\n"
    lines[8] = lines[8].replace('"schema": 1', '"schema": 0').replace('"schema":1', '"schema":0')
    path.write_text("".join(lines)[:-200], encoding="utf-8")
    page = text_of(write(tmp_path))
    for said in (
        "1 row could not be read",
        "are missing",
        "a sweep under way",
        "unanswerable",
        "another schema",
    ):
        assert said in page
    assert (tmp_path / "report.md").exists()


def test_a_setting_that_some_jobs_leave_open_is_an_axis():
    rows = [made_up.ok(made_up.job(gpu=Gpu(memory_limit_gib=limit))) for limit in (None, 8.0)]
    assert "gpu.memory_limit_gib" in axes_of(made_up.in_memory(*rows))


def test_whatever_differs_is_an_axis_the_strategy_first():
    jobs = [
        made_up.job(model=Model(source=s, dtype=d), image=Image("1", f"{s}.png", s * 9), max_guidance_scale=g)
        for s, d, g in (("/a", "float32", 3.0), ("/b", "float16", 2.0))
    ]
    jobs.append(made_up.job(Memory("other", offload="model"), measure=Measure(repeats=2)))
    rows = rows_told_apart(made_up.ok(job) for job in jobs)
    axes = axes_of(made_up.in_memory(*rows))
    assert axes == ["memory", "model", "image", "max_guidance_scale", "model.dtype", "measure"]


def test_a_missing_folder_is_refused_in_a_sentence(capsys):
    assert cli.main(["report", "runs/there/is/none"]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_two_swept_settings_give_a_heatmap_with_each_mean_in_its_place(monkeypatch):
    rows = [
        made_up.ok(made_up.job(motion_bucket_id=b, noise_aug_strength=n, seed=s), motion_px=b * n + s)
        for b in (60, 120, 180)
        for n in (0.1, 0.2)
        for s in (0, 1)
    ]
    sweep = made_up.in_memory(*rows)
    plots = {plot.name: plot for plot in draw_all(sweep, strategies(sweep))}
    plot = plots["heat_motion_bucket_id_noise_aug_strength"]
    axes = plot.figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("motion_bucket_id", "noise_aug_strength")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["60", "120", "180"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.1", "0.2"]
    fields = {text.get_position(): text.get_text() for text in axes.texts}
    assert fields == {
        (c, r): f"{b * n + 0.5:.3g}" for c, b in enumerate((60, 120, 180)) for r, n in enumerate((0.1, 0.2))
    }


def test_a_headline_of_ones_own_is_drawn_where_its_module_is_imported_and_nothing_is_imported_for_it(
    tmp_path, monkeypatch
):
    def bright(row: Row) -> Row:
        return dataclasses.replace(row, values={**row.values, "mean_255": 98.0 + row.job.motion_bucket_id})

    made_up.sweep(tmp_path, change=bright, metrics=Metrics(families=["mine.brightness"]))
    sweep = open_sweep(tmp_path)
    assert "mean_255" not in {column.name for column in headline_metrics(sweep)}
    own = Column("mean_255", "levels of 255", "Mean of all values.", headline=3)
    monkeypatch.setitem(sys.modules, "mine.brightness", SimpleNamespace(COLUMNS=(own,)))
    assert own in headline_metrics(sweep)
    plots = {plot.name: plot.figure for plot in draw_all(sweep, strategies(sweep))}
    panels = {axes.get_title(): axes.get_ylabel() for axes in plots["response_motion_bucket_id"].axes}
    assert panels["mean_255"] == "levels of 255"
    assert panels["motion_px"] == "px/frame"


@pytest.mark.slow
def test_thirty_thousand_rows_fit_and_the_page_says_what_it_leaves_out(tmp_path):
    # rows of a few jobs, copied with other seeds: writing each through the store's fsync would measure the disk
    rows = made_up.sweep(tmp_path / "few", seeds=[0], buckets=range(0, 250, 10))
    lines = [json.loads(row.to_json()) for row in rows]
    for line in lines:
        del line["crc32"]  # of a row with its own seed; rows without one are read too
    path = tmp_path / "many" / "rows" / "w-1.jsonl"
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as f:
        for seed in range(300):
            base = {}
            for row, line in zip(rows, lines, strict=True):
                bucket = row.job.motion_bucket_id
                base.setdefault(
                    bucket, dataclasses.replace(row.job, seed=seed).key
                )  # the baseline comes first
                f.write(
                    json.dumps(line | {"job": line["job"] | {"seed": seed, "baseline": base[bucket]}}) + "\n"
                )
    # in a process of its own: what the tests before it left in this one is not the page's
    code = (
        "import sys; from pathlib import Path; from svdsweep.probes.vram import host_peak_gib; "
        "from svdsweep.report import write; write(Path(sys.argv[1])); print(host_peak_gib())"
    )
    told = subprocess.run([sys.executable, "-c", code, tmp_path / "many"], stdout=subprocess.PIPE, check=True)
    page = text_of(tmp_path / "many" / "report.html")
    assert "of 30000 jobs" in page
    assert "paired t on 7500 log ratios" in page
    assert len(page) < 3_000_000
    assert float(told.stdout) < 2
