"""The main job as its user runs it: a real process, the real pipeline, real videos."""

import errno
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fakes
import imageio_ffmpeg
import made_up
import pandas as pd
import PIL.Image
import pytest
from bare_columns import OUTSIDE_THE_CATALOGUE, PURE_NUMBERS

from svdsweep.analysis.strategies import strategies
from svdsweep.analysis.sweep import open_sweep
from svdsweep.cli import main
from svdsweep.commands import run
from svdsweep.config import Runner
from svdsweep.config.schedulers import SCHEDULERS, TWO_CALLS
from svdsweep.errors import Stopped
from svdsweep.grid.expand import Grid
from svdsweep.metrics import CATALOGUE
from svdsweep.predict import forecast
from svdsweep.runner.contract import Watch
from svdsweep.store.manifest import read_manifest
from svdsweep.store.rows import Row, Store, rows_of

FEW = ("num_inference_steps=2", "num_frames=6", "runner.devices=cpu", "runner.workers_per_device=1")


def svdsweep(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """`python -m svdsweep` with imports of torch in the driver forbidden."""
    guard = "import sys; sys.modules['torch'] = None; from svdsweep.cli import main; sys.exit(main())"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", guard, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The first command that a stranger runs, with fewer steps and frames."""
    cwd = tmp_path_factory.mktemp("first")
    done = svdsweep("motion_bucket_id=60,120,180", *FEW, cwd=cwd)
    (folder,) = (cwd / "runs").iterdir()
    return cwd, folder, done


def test_the_first_command_ends_well_and_shows_a_line_a_job(swept):
    _, folder, done = swept
    assert done.returncode == 0, done.stderr
    keys = list(Store(folder).rows())
    assert len(keys) == 3
    assert all(key in done.stdout for key in keys)
    assert "3 ok" in done.stdout
    assert "results.csv" in done.stdout


def test_every_job_has_a_playable_video_and_a_contact_sheet(swept):
    _, folder, _ = swept
    for row in Store(folder).rows().values():
        reader = imageio_ffmpeg.read_frames(str(folder / str(row.values["video"])))
        about = next(reader)
        assert (about["codec"], about["fps"]) == ("h264", row.job.fps)
        assert sum(1 for _ in reader) == row.job.num_frames
        with PIL.Image.open(folder / str(row.values["contact_sheet"])) as sheet:
            assert sheet.width > 500


def test_the_tables_have_the_promised_columns_in_all_their_forms(swept):
    _, folder, _ = swept
    csv, parquet = (
        pd.read_csv(folder / "results.csv"),
        pd.read_parquet(io.BytesIO((folder / "results.parquet").read_bytes())),
    )
    assert list(csv.columns) == list(parquet.columns)
    assert sorted(csv["motion_bucket_id"]) == [60, 120, 180]
    for column in (
        "key",
        "status",
        "model",
        "memory",
        "seed",
        "total_s",
        "denoise_s",
        "vae_decode_s",
        "host_ram_peak_gib",
    ):
        assert csv[column].notna().all(), column
    for column in ("adj_psnr_db", "adj_ssim", "adj_mae_255"):
        assert csv[column].notna().all(), column
    assert csv["vram_allocated_peak_gib"].isna().all()  # unknown on a CPU, and not 0
    assert "motion_bucket_id" in (folder / "results.md").read_text(encoding="utf-8")


def test_every_number_of_a_row_has_a_unit_or_is_bare_on_purpose(swept):
    _, folder, _ = swept
    for row in Store(folder).rows().values():
        for name, value in {**row.values, **row.provenance}.items():
            if isinstance(value, int | float) and name not in OUTSIDE_THE_CATALOGUE:
                assert CATALOGUE[name].help, name
                assert CATALOGUE[name].unit or name in PURE_NUMBERS, name


def test_stages_sum_to_the_total_and_steps_are_counted(swept):
    _, folder, _ = swept
    for row in Store(folder).rows().values():
        values = row.values
        parts = sum(float(values[f"{s}_s"]) for s in ("image_encode", "vae_encode", "denoise", "vae_decode"))
        assert parts == pytest.approx(float(values["total_s"]), rel=0.02)
        assert len(row.series["step_s"][0]) == 2
        assert values["fps_id"] == row.job.fps - 1


def test_one_load_serves_jobs_of_equal_settings(swept):
    _, folder, _ = swept
    assert sum(int(row.values["loads"]) for row in Store(folder).rows().values()) == 1


def test_the_same_command_again_says_that_all_is_done(swept):
    cwd, folder, first = swept
    before = {p: p.read_bytes() for p in (folder / "rows").iterdir()}
    again = svdsweep("motion_bucket_id=60,120,180", *FEW, cwd=cwd)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert {p: p.read_bytes() for p in (folder / "rows").iterdir()} == before


def test_plan_shows_what_is_done_and_runs_nothing(swept, monkeypatch, capsys):
    cwd, folder, _ = swept
    monkeypatch.chdir(cwd)
    grid = ("motion_bucket_id=60,61", "memory=baseline,sequential_offload", f"name={folder.name}")
    assert main(["plan", *grid, *FEW]) == 0
    plan = capsys.readouterr().out
    assert "to do" in plan
    assert "ok" in plan
    assert "impossible here: offload=sequential needs a GPU" in plan
    assert "pipeline 2" in plan


def test_json_is_one_document_and_nothing_else(swept, monkeypatch, capsys):
    cwd, folder, _ = swept
    monkeypatch.chdir(cwd)
    assert main(["motion_bucket_id=60", f"name={folder.name}", "--json", *FEW]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["motion_bucket_id"] == 60
    assert main(["plan", "motion_bucket_id=60,61", f"name={folder.name}", "--json", *FEW]) == 0
    assert [job["state"] for job in json.loads(capsys.readouterr().out)["jobs"]] == ["ok", "to do"]


@pytest.mark.slow
def test_a_grid_of_twentyfour_loads_once_for_each_settings_and_equal_jobs_have_equal_frames(tmp_path):
    axes = (
        "seed=0,1",
        "motion_bucket_id=20,120,240",
        "noise_aug_strength=0.02,0.5",
        "memory=baseline,split_guidance",
    )
    few = ("num_inference_steps=1", "num_frames=4", "runner.devices=cpu", "metrics=none")
    done = svdsweep(*axes, *few, "name=grid", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = Store(tmp_path / "runs" / "grid").rows()
    assert len(rows) == 24
    assert (
        sum(int(row.values["loads"]) for row in rows.values())
        == len({row.job.pipeline_key for row in rows.values()})
        == 2
    )
    again = svdsweep("seed=1", "motion_bucket_id=120", *few, "name=again", cwd=tmp_path)
    assert again.returncode == 0
    ((key, row),) = Store(tmp_path / "runs" / "again").rows().items()
    assert rows[key].values["frames_sha256"] == row.values["frames_sha256"]
    assert len({r.values["frames_sha256"] for r in rows.values() if r.job.memory.name == "baseline"}) == 12


@pytest.mark.parametrize(
    "arguments",
    [
        ["motion_bucket_id=300"],
        ["motion_bucket_id=abc"],
        ["memory=nonexistent"],
        ["seeed=1"],
        ["image=missing.png"],
        ["model=svd_xt"],
        ["num_frames=1"],
        ["height=100"],
        ["runs_dir=/proc/nowhere"],
        ["--nonsense"],
        ["nonsense"],
        ["--config-dir", "nowhere"],
    ],
    ids=" ".join,
)
def test_wrong_input_exits_2_with_one_paragraph_and_starts_nothing(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len([line for line in err.splitlines() if line.startswith("svdsweep: ")]) == 1
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_process_that_was_given_wrong_input_ends_with_2(tmp_path):
    done = svdsweep("motion_bucket_id=300", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--info", "searchpath"]], ids=" ".join)
def test_help_and_its_kin_answer_without_torch_and_on_any_terminal(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")  # it lacks the … of the help page
    done = svdsweep(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert list(tmp_path.iterdir()) == []


def test_cfg_of_a_sweep_points_to_plan(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--cfg", "job", "seed=1,2"]) == 2
    assert "svdsweep plan" in capsys.readouterr().err


def test_an_odd_height_is_warned_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "height=72"]) == 0
    assert "warning: 64×72" in capsys.readouterr().err


@pytest.mark.parametrize("skips", [True, False])
def test_what_is_done_is_not_run_again_and_on_request_nothing_that_cannot_fit(tmp_path, monkeypatch, skips):
    jobs, ran = [fakes.job(seed) for seed in (3, 0, 2, 1)], []
    grid = Grid(jobs, {"seed": ["3", "0"]}, Runner(devices="cpu", skip_predicted_oom=skips), tmp_path, "mine")
    Store(grid.folder, "earlier").append(Row(jobs[0], "ok"))

    def run_jobs(todo, *_):
        for job in todo:
            ran.append(job.seed)
            row = Row(job, "ok")
            Store(grid.folder).append(row)
            yield row

    monkeypatch.setattr(run, "run_jobs", run_jobs)
    monkeypatch.setattr(run, "write_outcome", lambda folder, store: store.rows())
    monkeypatch.setattr(forecast, "foreseen_oom", lambda todo, *_: [Row(job, "rejected") for job in todo[:2]])
    rows = run.finish(grid, ["seed=3,0,2,1"], "presets", Watch())
    assert ran == ([1] if skips else [0, 2, 1])
    middle = ["rejected", "rejected"] if skips else ["ok", "ok"]
    assert [row.job.seed for row in run.rows_of(grid, rows)] == [3, 0, 2, 1]
    assert [row.status for row in run.rows_of(grid, rows)] == ["ok", *middle, "ok"]
    told = read_manifest(grid.folder)
    assert told["keys"] == [job.key for job in jobs]
    assert (told["settings"], told["config_dir"], told["axes"]) == (
        ["seed=3,0,2,1"],
        "presets",
        {"seed": ["3", "0"]},
    )
    assert run.finish(grid, [], None, Watch()).keys() == rows.keys()
    assert len(ran) == (1 if skips else 3)


def test_who_resumes_a_sweep_reads_each_row_once(tmp_path, monkeypatch):
    jobs, read = [fakes.job(seed) for seed in range(6)], Counter()
    grid = Grid(jobs, {}, Runner(devices="cpu"), tmp_path, "mine")
    for job in jobs[:-1]:
        Store(grid.folder, "earlier").append(Row(job, "ok"))

    def counted(*arguments):
        for row in rows_of(*arguments):
            read[row.job.seed] += 1
            yield row

    monkeypatch.setattr("svdsweep.store.rows.rows_of", counted)
    monkeypatch.setattr(run, "load_worker", fakes.load_noop)
    assert [row.job.seed for row in run.finish(grid, [], None, Watch()).values()] == list(range(6))
    assert (grid.folder / "report.html").exists()
    assert read == dict.fromkeys(range(6), 1)


@pytest.mark.parametrize("several", [False, True])
def test_where_several_strategies_ran_the_last_words_say_which_to_take(several, tmp_path, capsys):
    names = ("baseline", "compile") if several else ("baseline",)
    rows = [
        made_up.ok(
            made_up.job(made_up.STRATEGIES[name], seed=seed),
            [seconds, seconds * 1.01],
            vram_allocated_peak_gib=8.0,
        )
        for name, seconds in zip(names, (10.0, 5.0), strict=False)
        for seed in range(3)
    ]
    run.show(Grid([row.job for row in rows], {}, Runner(), tmp_path, "there is no such folder"), rows, False)
    said = capsys.readouterr().out
    assert (
        "On the NVIDIA RTX 4090: take memory=compile, 5.05 s a video (0.5 × the baseline's time)" in said
    ) == several


@pytest.mark.parametrize(
    ("statuses", "code"),
    [(["ok", "ok"], 0), (["oom", "rejected"], 0), (["ok"], 1), (["ok", "failed"], 1), (["ok", "timeout"], 1)],
    ids=str,
)
def test_the_exit_code_is_0_when_every_job_has_a_final_row(statuses, code, tmp_path, monkeypatch):
    def finished(grid, *_):
        return {job.key: Row(job, status) for job, status in zip(grid.jobs, statuses, strict=False)}

    monkeypatch.setattr(run, "finish", finished)
    assert main(["seed=0,1", f"runs_dir='{tmp_path}'"]) == code


def test_a_full_disk_is_told_once_by_its_first_error_and_what_is_left_undone(tmp_path, monkeypatch, capsys):
    def stops(*_):
        raise Stopped("The sweep has stopped, for the disk is full.")
        yield

    def fails(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "results.csv")

    monkeypatch.setattr(run, "run_jobs", stops)
    monkeypatch.setattr(run, "write_outcome", fails)
    assert main(["seed=0", f"runs_dir={tmp_path}"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        "svdsweep: The sweep has stopped, for the disk is full. "
        "The tables and the report could not be written either (No space left on device)."
    )


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "The disk is full: make room"),
        (errno.EACCES, "change its rights"),
        (errno.EILSEQ, "x: "),
    ],
)
def test_what_the_operating_system_refuses_is_a_sentence_with_a_cure(number, told, monkeypatch, capsys):
    def fails(*_):
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr(run, "run", fails)
    assert main(["seed=0"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"svdsweep: x: {os.strerror(number)}.")
    assert told in said


@pytest.mark.slow
def test_a_sweep_of_schedulers_loads_once_counts_the_unets_calls_tells_them_apart_and_goes_on(tmp_path):
    asked = (
        f"model.scheduler={','.join(SCHEDULERS)}",
        "model.sigmas=model,[700,20,1,0]",
        *("num_inference_steps=4", "num_frames=2", "runner.devices=cpu", "metrics=none", "name=all"),
    )
    done = svdsweep(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "runs" / "all" / "results.csv")
    assert (table["status"] == "ok").all()
    assert table["loads"].sum() == 1
    twice = table["model.scheduler"].isin(TWO_CALLS)
    assert (table["unet_calls"] == table["num_inference_steps"] * (1 + twice) - twice).all()
    told = table[["model.scheduler", "model.sigmas"]].drop_duplicates()
    assert len(told) == len(table) == 2 * len(SCHEDULERS)
    assert set(table["num_inference_steps"]) == {3, 4}
    again = svdsweep(*asked, cwd=tmp_path)
    assert f"{len(table)} jobs, {len(table)} ok" in again.stdout + again.stderr, "nothing is left to do"
    assert len(Store(tmp_path / "runs" / "all").rows()) == len(table)


@pytest.mark.slow
def test_a_sweep_over_decoders_tells_them_apart_shows_their_drift_and_goes_on(tmp_path):
    line = [
        "model.decoder=temporal,image,taesd,taesdv",
        "seed=0,1",
        "name=decoders",
        "runner.preview=true",
        *FEW,
    ]
    done = svdsweep(*line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "decoders"
    rows = Store(folder).rows()
    others = [row for row in rows.values() if row.job.model.decoder != "temporal"]
    assert len(others) == 6
    for row in others:
        assert rows[row.job.baseline].job.model.decoder == "temporal"
        assert row.values["latents_bit_equal_to_baseline"], row.job.memory.name
        assert row.values["psnr_to_baseline_db"] > 15, row.job.memory.name
    assert sum("latency_shared_with" in row.values for row in rows.values()) == 6
    assert not list((folder / "previews").iterdir())
    table = pd.read_csv(folder / "results.csv")
    names = ["baseline", *(f"baseline+decoder={name}" for name in ("image", "taesd", "taesdv"))]
    assert sorted(set(table["memory"])) == names
    assert set(table["model"]) == {"tiny"}
    compared = open_sweep(folder)
    assert [s.name for s in strategies(compared) if s.psnr_db is not None] == sorted(
        names[1:], key=lambda name: table[table["memory"] == name]["total_s"].median()
    )
    again = svdsweep(*line, cwd=tmp_path)
    assert again.returncode == 0
    assert "8 jobs, 8 ok" in again.stderr
    assert len(Store(folder).rows()) == 8
