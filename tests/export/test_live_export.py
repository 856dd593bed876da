"""Rows exported while a sweep runs."""

import shlex
import threading
import time
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import fakes
import pytest
import running

from svdsweep.export import live
from svdsweep.export.live import exporting
from svdsweep.runner import run_jobs
from svdsweep.runner.contract import Watch
from svdsweep.store.rows import Store


def sweep(folder, jobs, to, into=None, stop_after=None):
    """Run jobs with fake workers and export them meanwhile; what the user was told."""
    told = []
    with exporting(folder, jobs, to, into, told.append) as exported:
        for number, _ in enumerate(
            exported.passing(run_jobs(jobs, fakes.load, running.cpu(1), Store(folder), Watch())), 1
        ):
            if number == stop_after:
                raise KeyboardInterrupt
    exported.complete(Store(folder).rows().values())
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


def test_a_tracker_that_hangs_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "tracker", lambda to: None)
    monkeypatch.setattr(live, "PATIENCE_S", 0.3)
    answers = threading.Event()

    @contextmanager
    def connected(*arguments):
        answers.wait(60)
        raise ConnectionError("at last")
        yield

    monkeypatch.setattr(live, "connected", connected)
    jobs = [fakes.job(seed) for seed in range(3)]
    (told,) = sweep(tmp_path / "s", jobs, "tensorboard")
    assert "the export to tensorboard has stopped, the sweep goes on: " in told
    assert f"{tmp_path / 'export' / 'tensorboard'} has taken no row in 0.3 s" in told
    assert set(Store(tmp_path / "s").rows()) == {job.key for job in jobs}
    answers.set()


def test_a_slow_tracker_is_waited_for_as_long_as_it_takes_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "tracker", lambda to: None)
    monkeypatch.setattr(live, "PATIENCE_S", 0.5)
    taken = []

    def slowly(target, entry):
        time.sleep(0.3)
        taken.append(entry)

    monkeypatch.setattr(live, "connected", lambda *arguments: nullcontext())
    monkeypatch.setattr(live, "hand_over", slowly)
    monkeypatch.setattr(live, "export", lambda *arguments: SimpleNamespace(new=0, there=4))
    (told,) = sweep(tmp_path / "s", [fakes.job(seed) for seed in range(4)], "tensorboard")
    assert told.startswith("tensorboard: all 4 rows are in ")
    assert len(taken) == 4


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
