"""`svdsweep export`, as far as it refuses; what it writes is tested with each tracker in tests/export."""

import sys

import made_up
import pytest

from svdsweep import cli
from svdsweep.config.runner import TRACKERS
from svdsweep.store.rows import Row, Store


@pytest.mark.parametrize("to", TRACKERS)
def test_a_library_that_is_missing_is_named_with_its_extra_before_anything_runs(
    tmp_path, monkeypatch, capsys, to
):
    monkeypatch.setitem(sys.modules, to, None)
    Store(tmp_path / "s").append(Row(made_up.job(), "ok"))
    assert cli.main(["export", str(tmp_path / "s"), "--to", to]) == 2
    assert f'pip install "svdsweep[{to}]"' in capsys.readouterr().err
    assert cli.main(["seed=0", f"runner.export={to}", f"runs_dir='{tmp_path}'", "name=new"]) == 2
    assert f'pip install "svdsweep[{to}]"' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "mlfow"], "invalid choice: 'mlfow'"),
        (["--to", "csv"], "no row of a job is stored there"),
        (["--to", "vbench"], "--to vbench needs --into DIR"),
        (["--to", "csv", "--into", "http://x"], "only MLflow takes the address of a server"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(tmp_path, capsys, arguments, told):
    assert cli.main(["export", str(tmp_path), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_tracker_that_is_unknown_to_the_runner_is_told_with_the_nearest(capsys):
    assert cli.main(["seed=0", "runner.export=mlfow"]) == 2
    assert "allowed is mlflow, wandb, tensorboard. Did you mean mlflow?" in capsys.readouterr().err
