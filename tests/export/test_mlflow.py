"""Sweeps in MLflow, read back by MLflow."""

import dataclasses

import pytest

from svdsweep import cli
from svdsweep.export import export
from svdsweep.export.entries import Entries
from svdsweep.store.rows import Store

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed")
pytestmark = pytest.mark.slow  # MLflow's first look at a database takes seconds


def read(folder, name="motion"):
    """A client of the store beside the sweeps, the runs of an experiment that count by their keys, and how many there
    are in all."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{(folder.parent / 'export' / 'mlflow' / 'mlflow.db').as_posix()}")
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    current = [run for run in runs if "svdsweep.superseded_by" not in run.data.tags]
    return client, {run.data.tags["svdsweep.key"]: run for run in current}, len(runs)


def test_mlflow_reads_settings_numbers_steps_files_and_status_of_each_job_once(
    folder, rows, tmp_path, capsys
):
    from mlflow.artifacts import download_artifacts

    assert cli.main(["export", str(folder), "--to", "mlflow"]) == 0
    assert "mlflow ui --backend-store-uri sqlite:///" in capsys.readouterr().out
    client, runs, count = read(folder)
    assert (set(runs), count) == (set(rows), 3)
    key, row = next(iter(rows.items()))
    run = runs[key]
    assert run.info.status == "FINISHED"
    assert "motion_bucket_id=60" in run.info.run_name
    assert run.data.params["motion_bucket_id"] == "60"
    assert run.data.metrics["total_s"] == row.values["total_s"]
    assert "vram_process_peak_gib" not in run.data.metrics
    steps = client.get_metric_history(run.info.run_id, "series/step_s/run1")
    assert [(point.step, point.value) for point in steps] == [(0, 0.1), (1, 0.2)]
    video = download_artifacts(f"{run.info.artifact_uri}/videos/{key}.mp4", dst_path=str(tmp_path))
    with open(video, "rb") as copied:
        assert copied.read() == (folder / "videos" / f"{key}.mp4").read_bytes()
    failed = next(run for run in runs.values() if run.info.status == "FAILED")
    assert failed.data.tags["weights"] == "random"
    assert "RuntimeError" in failed.data.tags["mlflow.note.content"]
    assert not list(folder.glob("*ml*"))  # the sweep's own folder is as it was
    again(folder, rows)


def again(folder, rows):
    """A second export adds what is new: a row that was made again, whose old run is marked, and nothing else."""
    row = next(iter(rows.values()))
    Store(folder, "bench-2").append(dataclasses.replace(row, attempt=2))
    client, runs, _ = read(folder)
    old = runs[row.key].info.run_id
    killed = client.create_run(runs[row.key].info.experiment_id, tags={"svdsweep.key": row.key}).info.run_id
    told = export(folder, Store(folder).rows().values(), "mlflow")
    assert (told.new, told.there) == (1, 2)
    _, runs, count = read(folder)
    assert count == 4
    assert client.get_run(old).data.tags["svdsweep.superseded_by"] == runs[row.key].info.run_id != old
    assert client.get_run(killed).info.lifecycle_stage == "deleted"
    assert export(folder, Store(folder).rows().values(), "mlflow").new == 0


def test_a_server_that_does_not_answer_is_told(folder, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert cli.main(["export", str(folder), "--to", "mlflow", "--into", "http://127.0.0.1:9"]) == 2
    assert "mlflow does not take the sweep at http://127.0.0.1:9: " in capsys.readouterr().err


def test_a_strangers_sweep_names_no_place_outside_of_the_store(folder, rows):
    from svdsweep.export.contract import Origin
    from svdsweep.export.mlflow import connect

    into = folder.parent / "there"
    entry = Entries(folder, [row.job for row in rows.values()]).of(next(iter(rows.values())))
    connect(Origin("../../outside", folder), str(into)).add(entry)
    assert {path.name for path in into.iterdir()} == {"mlflow.db", "artifacts"}
    assert [path.name for path in (into / "artifacts").iterdir()] == ["_._.._outside"]
