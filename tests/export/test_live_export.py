"""Rows exported while a sweep runs."""

import shlex

import fakes
import pytest
import running

from svdsweep.export.live import exporting
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.store.rows import Store


def sweep(folder, jobs, to, into=None, stop_after=None):
    """Run jobs with fake workers and export them meanwhile; what the user was told."""
    told = []
    with exporting(folder, jobs, to, into, told.append) as live:
        for number, _ in enumerate(
            live.passing(run_jobs(jobs, fakes.load, running.cpu(1), Store(folder), Watch())), 1
        ):
            if number == stop_after:
                raise KeyboardInterrupt
    live.complete(Store(folder).rows().values())
    return told


@pytest.mark.slow
@pytest.mark.parametrize("to", ["mlflow", "wandb", "tensorboard"])
def test_each_row_is_exported_when_it_is_stored_and_what_is_missing_at_the_end(tmp_path, to):
    pytest.importorskip(to, reason=f"{to} is not installed")
    folder, jobs = tmp_path / "s", [fakes.job(seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        sweep(folder, jobs, to, stop_after=2)
    assert sweep(folder, jobs, to) == [f"{to}: all 3 rows are in {tmp_path / 'export' / to}"]


def test_rows_are_there_before_the_sweep_ends_also_when_it_is_interrupted(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    jobs = [fakes.job(seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path / "s", jobs, "tensorboard", stop_after=2)
    runs = [path.name for path in (tmp_path / "export" / "tensorboard" / "s").iterdir()]
    assert sorted(runs) == [f"seed={seed}-{jobs[seed].key}" for seed in range(2)]


def test_a_tracker_that_fails_is_told_once_and_the_sweep_goes_on(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    (tmp_path / "file").touch()
    jobs = [fakes.job(seed) for seed in range(3)]
    (told,) = sweep(tmp_path / "s", jobs, "tensorboard", str(tmp_path / "file"))
    assert "the export to tensorboard has stopped, the sweep goes on: " in told
    words = [
        "svdsweep",
        "export",
        str(tmp_path / "s"),
        "--to",
        "tensorboard",
        "--into",
        str(tmp_path / "file"),
    ]
    assert f"`{shlex.join(words)}` brings what is missing." in told
    assert len(Store(tmp_path / "s").rows()) == 3
