"""Predictions beside measurements: on the page, in Markdown and files; simulated only when asked for."""

import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import made_up
import pandas as pd
import pytest

from svdsweep import cli
from svdsweep.analysis.prediction import Compared, Comparison, Ratio
from svdsweep.predict import cache
from svdsweep.predict.calibration import Calibration, read
from svdsweep.predict.prediction import Prediction, Stage
from svdsweep.report import markdown, prediction, write
from svdsweep.report.prediction import is_far
from svdsweep.store.columns import STAGES


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def foresee(strategy, ratio, notes=()):
    """A prediction of a made-up strategy whose measured peak is `ratio` of it."""
    peak = made_up.PEAK_GIB[strategy] / ratio
    held = dict.fromkeys(STAGES, 1.0) | {"denoise": peak / 2, "vae_decode": peak}
    stages = {name: Stage(gib, 0.5, "add", "unet", [], [], 0.0, 0.0) for name, gib in held.items()}
    cache.keep(made_up.job(made_up.STRATEGIES[strategy]), Prediction(stages, list(notes)))


def test_ratios_and_the_constant_of_the_gpu_stand_on_the_page_and_beside_the_rows(tmp_path):
    foresee("baseline", 1.02)
    foresee("model_offload", 1.25)
    foresee("compile", 1.5, ["predicted as the eager run"])
    made_up.sweep(tmp_path / "a")
    page = write(tmp_path / "a").read_text(encoding="utf-8")
    assert 'id="prediction"' in page
    assert "1.020" in page
    assert 'class="num worse" data-sort="1.25"' in page
    assert "compile: predicted as the eager run" in page
    assert "1 measured setting is not predicted" in page
    fitted = read(tmp_path / "a")["NVIDIA RTX 4090"]
    assert fitted.rows == 12  # neither the compiled nor the unpredicted strategy
    assert fitted.workspace_gib == pytest.approx(28.0 - 28.0 / 1.25)
    assert f"{fitted.constant_gib:.2f} GiB" in page
    table = pd.read_csv(tmp_path / "a" / "predictions.csv")
    assert len(table) == 3 * 6 * 3  # strategies, jobs; denoise, decode and the whole run
    markdown = (tmp_path / "a" / "report.md").read_text(encoding="utf-8")
    assert "## Prediction against measurement" in markdown
    assert "plots/prediction.png" in markdown
    assert (tmp_path / "a" / "plots" / "prediction.png").stat().st_size > 3000


@pytest.mark.parametrize(
    ("stage", "median", "far"),
    [
        *(("denoise", 0.9, True), ("denoise", 0.99, False), ("denoise", 1.1, True)),
        *(("run", 0.8, True), ("run", 0.93, False), ("vae_decode", 1.07, False), ("vae_decode", 1.11, True)),
    ],
)
def test_what_misses_its_prediction_to_either_side_is_marked(stage, median, far):
    assert is_far(stage, Ratio(median, median, median, 1)) == far


FITTED = Calibration("A", 1.5, 0.9, 0.6, True, 12, 30.0)


def line(memory, median, gpu="A", n=3):
    """A strategy whose denoise and run were measured at other ratios; low, median and high differ."""
    ratios = {"run": Ratio(median, median - 0.1, median + 0.2, n), "denoise": Ratio(1.0, 1.0, 1.0, 1)}
    return Compared(gpu, memory, n, 10.0, 12.0, ratios, [f"{memory} is not itself"])


def test_what_was_fitted_is_told_in_its_parts_and_how_the_context_was_found():
    words = prediction.constant_words(FITTED)
    assert "its predicted peak and 1.50 GiB, 0.90 of it for workspaces" in words
    assert "and 0.60 for the CUDA context (as the driver counts it). Fitted to 12 rows;" in words
    assert words.endswith("up to the largest peak predicted here, 30.0 GiB.")
    guessed = prediction.constant_words(dataclasses.replace(FITTED, context_measured=False, rows=1))
    assert "(assumed, for the driver does not tell). Fitted to 1 row;" in guessed


def test_a_range_is_told_of_more_rows_than_one():
    assert prediction.range_words(Ratio(1.0, 0.9, 1.2, 3)) == "0.900 to 1.200, 3 rows"
    assert prediction.range_words(Ratio(1.0, 1.0, 1.0, 1)) == "1 row"


def test_the_section_has_every_note_and_each_number_in_its_place(monkeypatch):
    lines = [line("b", 1.1), line("a", 0.9)]
    compared = Comparison(lines, pd.DataFrame(), {"A": FITTED}, 6, [made_up.job()])
    monkeypatch.setattr(prediction, "comparison", lambda _: compared)
    section = prediction.section_of(made_up.in_memory(made_up.ok(made_up.job())))
    assert section.said[1:3] == ["a: a is not itself", "b: b is not itself"]
    assert section.said[3].startswith("1 measured setting is not predicted")
    assert prediction.cells(section) == (
        ["strategy", "jobs", "predicted (GiB)", "measured (GiB)", "denoise", "run"],
        [["b", "3", "10", "12", "1.000", "1.100"], ["a", "3", "10", "12", "1.000", "0.900"]],
    )
    text = "\n".join(markdown._prediction(SimpleNamespace(prediction=section)))
    assert "| b | 3 | 10 | 12 | 1.000 | 1.100 |\n| a | 3 | 10 | 12 | 1.000 | 0.900 |" in text
    axes = section.plot.figure.axes[0]
    marks = {section.plot.tips[m.get_gid()]: m for m in axes.lines if m.get_gid()}
    assert {words: (*mark.get_xdata(),) for words, mark in marks.items()} == {
        "b, denoise: 1.000 (1 row), A": (1.0,),
        "a, denoise: 1.000 (1 row), A": (1.0,),
        "b, run: 1.100 (1.000 to 1.300, 3 rows), A": (1.1,),
        "a, run: 0.900 (0.800 to 1.100, 3 rows), A": (0.9,),
    }
    ranges = [[round(x, 3) for x in r.get_xdata()] for r in axes.lines if len(r.get_xdata()) == 2]
    assert ranges[1:] == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.3], [0.8, 1.1]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert [
        round(x, 2) for x in axes.patches[0].get_extents().transformed(axes.transData.inverted()).intervalx
    ] == [0.95, 1.05]
    several = dataclasses.replace(
        compared, lines=[*lines, line("a", 1.0, "B")], unpredicted=[made_up.job()] * 2
    )
    monkeypatch.setattr(prediction, "comparison", lambda _: several)
    section = prediction.section_of(made_up.in_memory(made_up.ok(made_up.job())))
    assert section.said[-1].startswith("2 measured settings are not predicted")
    assert [cells[:3] for cells in prediction.cells(section)[1]] == [
        *(["b", "A", "3"], ["a", "A", "3"], ["a", "B", "3"])
    ]
    labels = section.plot.figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["b\nA", "a\nA", "a\nB"]


@pytest.mark.usefixtures("no_drawing")
def test_gpus_are_told_apart(tmp_path):
    foresee("baseline", 1.0)

    def other_gpu(row):
        return (
            dataclasses.replace(row, provenance=made_up.GPU | {"gpu": "NVIDIA L4"}) if row.job.seed else row
        )

    made_up.sweep(tmp_path, strategies={"baseline": made_up.STRATEGIES["baseline"]}, change=other_gpu)
    page = write(tmp_path).read_text(encoding="utf-8")
    assert "<th>GPU</th>" in page
    assert set(read(tmp_path)) == {"NVIDIA L4", "NVIDIA RTX 4090"}


def test_nothing_is_simulated_unless_asked_for(tmp_path):
    made_up.sweep(tmp_path, range(1), (60,), strategies={"baseline": made_up.STRATEGIES["baseline"]})
    code = "import sys; from svdsweep.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "report", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    assert told.splitlines()[-1] == "False"
    assert "svdsweep report --predict" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not (tmp_path / "calibration.json").exists()
    assert not (tmp_path / "predictions.csv").exists()


@pytest.mark.slow
def test_what_was_not_predicted_is_on_request(tmp_path, capsys):
    small = {"num_frames": 2, "height": 64, "width": 64, "num_inference_steps": 2}
    made_up.sweep(tmp_path, strategies={"baseline": made_up.STRATEGIES["baseline"]}, **small)
    assert cli.main(["report", "--predict", "--json", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)
    assert "not predicted" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert read(tmp_path)["NVIDIA RTX 4090"].rows == 6


@pytest.mark.usefixtures("no_drawing")
def test_without_a_gpu_that_counted_there_is_no_section_but_its_reason(tmp_path):
    foresee("baseline", 1.0)
    made_up.sweep(
        tmp_path,
        change=lambda row: dataclasses.replace(
            row,
            values={k: v for k, v in row.values.items() if "vram" not in k} | {"host_ram_peak_gib": 2.0},
            provenance={"cpu": "a processor"},
        ),
    )
    page = write(tmp_path).read_text(encoding="utf-8")
    assert 'id="prediction"' not in page
    assert "nor about predictions of VRAM" in page
    assert "Prediction against" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_drawing")
def test_a_decode_that_follows_free_memory_has_no_prediction_to_meet(tmp_path):
    made_up.sweep(tmp_path, decode_chunk_size="auto")
    assert "decode_chunk_size=auto decodes, only the run knows" in write(tmp_path).read_text(encoding="utf-8")
    assert not (tmp_path / "predictions.csv").exists()
