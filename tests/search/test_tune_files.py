"""What a search leaves: a preset that is the schedule that was tried, the table, the plot, every trial."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from planted_schedules import cases, ended

from svdsweep.config import Memory
from svdsweep.config.rules import typed
from svdsweep.grid.expand import expand
from svdsweep.search import tune_study
from svdsweep.search.tune_figures import costs, figures
from svdsweep.search.tune_files import Found, document, preset, preset_path, text, write
from svdsweep.search.tune_stages import Wish
from svdsweep.terminal import LINES

pytest.importorskip("cmaes")
WISH = Wish(cases(), (4,), 40)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    outcome, rows = ended(WISH)
    folder = tmp_path_factory.mktemp("tune")
    return Found(WISH, outcome, figures(outcome, rows), costs(rows), folder, "2026-11-27")


@pytest.fixture(scope="module")
def presets(found: Found) -> list[Path]:
    return write(found)


def without_a_gain(found: Found, folder: Path) -> Found:
    """As if it had helped the searched cases alone."""
    worse = [replace(f, latents_gain=replace(f.latents_gain, value=0.1, low=-1.0)) for f in found.figures]
    return replace(found, figures=worse, folder=folder)


def test_a_preset_is_the_schedule_that_was_tried_and_tells_how_it_was_found(
    found: Found, presets: list[Path]
) -> None:
    (file,) = presets
    levels = found.outcome.chosen[4].levels
    (job,) = expand(["memory=tuned_4", "num_inference_steps=25"], str(found.folder / "presets")).jobs
    assert (job.memory, job.num_inference_steps) == (Memory(name="tuned_4", sigmas=levels), 25)
    head = file.read_text(encoding="utf-8")
    for told in (
        "svdsweep tune",
        "2026-11-27",
        "calls of the UNet",
        " s of runs",
        "95 % interval",
        "model=tiny",
    ):
        assert told in head
    assert (head.count("# searched: "), head.count("# held out: ")) == (2, 6)
    assert head.endswith(f"name: tuned_4\nsigmas: {typed(levels)}\n")


def test_a_strategy_under_which_the_search_ran_is_in_the_preset_too(found: Found) -> None:
    offloaded = [replace(case, memory=Memory(offload="model")) for case in WISH.cases.searched]
    there = replace(found, wish=replace(WISH, cases=replace(WISH.cases, searched=offloaded)))
    assert "\noffload: model\nsigmas: [700," in preset(there, found.better[0])


def test_what_is_not_better_is_told_and_becomes_no_preset_and_an_earlier_one_goes(
    found: Found, tmp_path: Path
) -> None:
    earlier = preset_path(tmp_path, 4)
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    worse = without_a_gain(found, tmp_path)
    assert write(worse) == []
    assert not earlier.exists()
    assert "no better than Align Your Steps on the held-out cases (+0.10 [-1.00, " in text(worse)
    assert [line["preset"] for line in document(worse)["schedules"]] == [None] * 3


def test_every_trial_is_listed_with_the_chosen_one_told_apart(found: Found, presets: list[Path]) -> None:
    with (found.folder / "trials.csv").open(encoding="utf-8", newline="") as f:
        lines = list(csv.DictReader(f))
    assert len(lines) == len(found.outcome.trials[4])
    assert [line["sigmas"] for line in lines if line["chosen"] == "True"] == [
        " ".join(map(typed, found.outcome.chosen[4].levels))
    ]
    markdown = (found.folder / "tune.md").read_text(encoding="utf-8")
    assert "(chosen)" in markdown
    assert "tried and rejected" in markdown.lower()


def test_the_plot_and_the_figures_are_there_and_of_held_out_cases_alone(
    found: Found, presets: list[Path]
) -> None:
    assert (found.folder / "tune.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert (found.folder / "tune.png").stat().st_size > 1000
    plain = json.loads((found.folder / "tune.json").read_text(encoding="utf-8"))
    assert plain == json.loads(json.dumps(document(found)))
    tuned = plain["schedules"][0]
    assert (tuned["schedule"], tuned["latents_db"]["n"], tuned["preset"]) == ("tuned", 6, str(presets[0]))
    assert not {case["key"] for case in plain["searched"]} & {case["key"] for case in plain["held_out"]}
    assert len(text(found).splitlines()) < LINES


def test_the_study_has_every_trial_once_however_often_it_is_recorded(found: Found, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    trials = found.outcome.trials[4]
    failed = [*trials[:5], replace(trials[5], nearness_db=None)]
    for some in (trials[:3], failed):
        tune_study.record(tmp_path, {4: some})
    study = optuna.load_study(study_name="4 steps", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5 + ["FAIL"]
    assert [trial.user_attrs["number"] for trial in study.trials] == [0, 1, 2, 3, 4, 5]
    assert study.best_value == max(trial.nearness_db or 0 for trial in trials[:5])


def test_a_study_that_cannot_be_written_is_told_and_stops_nothing(found: Found, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "study.db").write_text(
        "no database, but text that is long enough to be taken for one\n" * 9, encoding="utf-8"
    )
    assert "study.db was not written" in tune_study.record(tmp_path, found.outcome.trials)
