"""`svdsweep tune` from the command line: what it finds, leaves and refuses, and that it goes on after a kill."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import planted_schedules
import pytest

from svdsweep import cli
from svdsweep.commands import tune
from svdsweep.config import Runner
from svdsweep.grid.expand import expand
from svdsweep.predict.batch import Unpredicted
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.search import tune_plan
from svdsweep.store.rows import Store, read_rows
from svdsweep.worker import load_worker

SMALL = ("num_frames=3", "height=32", "width=32", "image.fit=pad")
CPU = "runner.devices=cpu"


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert cli.main(["tune", *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The paragraph with which a command line is refused."""
    assert cli.main(["tune", *argv]) == 2
    paragraph = capsys.readouterr().err
    assert paragraph.count("\n") == 1
    return paragraph


def test_the_schedule_that_is_found_is_a_preset_and_the_same_command_has_nothing_left_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cmaes")
    pytest.importorskip("optuna")
    monkeypatch.setattr(tune, "load_worker", planted_schedules.load)
    command = ("--steps", "4", "--trials", "28", "--searched", "1", "--held-out", "4")
    place = (f"runs_dir={tmp_path}", "name=t", "runner.devices=cpu")
    first = answer(capsys, *command, *place)
    tuned = next(s for s in first["schedules"] if s["schedule"] == "tuned")
    assert Path(tuned["preset"]).is_file()
    assert tuned["latents_gain_db"]["low"] > 0
    assert (first["full_steps"], len(first["searched"]), len(first["held_out"])) == (25, 1, 4)
    rows = list(read_rows(tmp_path / "t"))
    assert len(rows) == first["runs"] == 5 + 28 + 1 + 12
    assert answer(capsys, *command, *place) == first
    assert len(list(read_rows(tmp_path / "t"))) == len(rows)


def test_a_search_that_stops_at_its_first_failure_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cmaes")
    pytest.importorskip("optuna")
    monkeypatch.setattr(tune, "load_worker", planted_schedules.load_failing)
    asked = ["tune", "--steps", "4", "--searched", "1", "--held-out", "3", "runner.fail_fast=true"]
    assert cli.main([*asked, f"runs_dir={tmp_path}", "runner.devices=cpu"]) == 1
    assert "The search has stopped before its end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((), "svdsweep tune --steps 6"),
        (("--steps", "6,x"), "--steps 6,x is not possible: whole numbers from 2 on"),
        (("--steps", "1"), "--steps 1 is not possible"),
        (("--steps", "6", "--trials", "0"), "a whole number from 1 on"),
        (("--steps", "6", "--draw", "-1"), "--draw -1 is not possible"),
        (("--steps", "25"), "num_inference_steps=25"),
        (("--steps", "6", "image=rocket"), "this grid has 1"),
        (("--steps", "6", "memory=ten_steps"), "leave out memory.denoise_steps"),
        (("--step", "6"), "Did you mean --steps?"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_paragraph(
    argv: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in said(capsys, *argv)


def test_without_its_libraries_it_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in ("cmaes", "optuna"):
        monkeypatch.setitem(sys.modules, library, None)
        assert 'pip install "svdsweep[tune]"' in said(capsys, "--steps", "6")
        monkeypatch.delitem(sys.modules, library)


def test_a_plan_counts_runs_and_calls_without_weights_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        tune_plan, "outcomes", lambda jobs, kind: {j.key: Unpredicted("planted") for j in jobs}
    )
    asked = ("--steps", "6,8", "--trials", "18", "--plan", "model=svd_xt", "model.weights=random")
    parts = answer(capsys, *asked, f"runs_dir={tmp_path}")
    assert [(part["runs"], part["unet_calls"]) for part in parts] == [
        (16, 25),
        (4 * (2 * 8 + 1), 6),
        (36, 6),
        (4 * (2 * 9 + 1), 8),
        (36, 8),
    ]
    assert cli.main(["tune", *asked, f"runs_dir={tmp_path}", "--gpu", "h100"]) == 0
    shown = capsys.readouterr().out
    assert f"{sum(part['runs'] for part in parts)} runs, " in shown
    assert "not predicted: planted" in shown
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_search_that_is_killed_goes_on_to_what_it_would_have_found_and_its_preset_gives_those_figures(
    tmp_path: Path,
) -> None:
    pytest.importorskip("cmaes")
    pytest.importorskip("optuna")
    asked = (
        "tune",
        "--steps",
        "2",
        "--trials",
        "12",
        "--searched",
        "1",
        "--held-out",
        "3",
        "num_inference_steps=5",
    )
    found = []
    for place, ends in (("killed", (subprocess.Popen.terminate, subprocess.Popen.kill)), ("whole", ())):
        line = [
            sys.executable,
            "-m",
            "svdsweep",
            *asked,
            "name=t",
            f"runs_dir={tmp_path / place}",
            *SMALL,
            CPU,
            "--json",
        ]
        for number, end in enumerate(ends, 1):
            with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
                while len(Store(tmp_path / place / "t").rows()) < 6 * number and driver.poll() is None:
                    time.sleep(0.1)
                assert driver.poll() is None
                end(driver)
        out = subprocess.run(line, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
        found.append(json.loads(out))
    killed, whole = found
    for name in ("searched", "held_out", "trials", "runs", "unet_calls"):
        assert killed[name] == whole[name]
    assert [s["sigmas"] for s in killed["schedules"]] == [s["sigmas"] for s in whole["schedules"]]
    final = Counter(row.key for row in read_rows(tmp_path / "killed" / "t") if row.final)
    assert max(final.values()) == 1
    _gives(whole, tmp_path / "whole" / "t", tmp_path, *SMALL)


def _gives(found: dict[str, Any], folder: Path, place: Path, *more: str) -> None:
    """The preset of the first tuned schedule, run as a user would, has the figures that stand in its head."""
    tuned = next(s for s in found["schedules"] if s["schedule"] == "tuned")
    jobs = []
    for case in found["held_out"]:
        settings = [f"{name}={case[name]}" for name in ("image", "seed", "motion_bucket_id")]
        settings += [f"memory=baseline,tuned_{tuned['steps']}", f"num_inference_steps={found['full_steps']}"]
        jobs += expand([*settings, *more], str(folder / "presets")).jobs
    list(run_jobs(jobs, load_worker, Runner(devices="cpu"), Store(place / "again"), Watch()))
    rows = read_rows(place / "again")
    psnr = [row.values["psnr_to_baseline_db"] for row in rows if row.job.baseline != row.key]
    assert len(psnr) == len(found["held_out"])
    # rounding of float32 differs with the number of threads
    assert fmean(map(float, psnr)) == pytest.approx(tuned["frames_db"]["value"], abs=0.05)


@pytest.mark.by_hand
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("steps", "gain_db"), [(6, 3.0), (8, 2.0)])
def test_on_the_embedded_model_a_search_beats_align_your_steps_on_cases_that_it_has_not_seen(
    tmp_path: Path, steps: int, gain_db: float
) -> None:
    line = [sys.executable, "-m", "svdsweep", "tune", "--steps", str(steps), "--json"]
    line += ["name=t", f"runs_dir={tmp_path}", "runner.devices=cpu"]
    out = subprocess.run(line, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    found = json.loads(out)
    tuned = found["schedules"][0]
    gains = [tuned["latents_gain_db"], tuned["frames_gain_db"]]
    assert all(gain["n"] >= 8 and gain["low"] > 0 for gain in gains)
    assert max(gain["value"] for gain in gains) >= gain_db
    _gives(found, tmp_path / "t", tmp_path)
