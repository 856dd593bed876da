"""Sweeps in Weights & Biases' offline mode, read back by `wandb leet inspect`."""

import dataclasses
import json
import subprocess
import sys

import pytest

from svdsweep import cli
from svdsweep.export import export
from svdsweep.store.rows import Store

pytest.importorskip("wandb", "0.31", reason="no wandb with `leet inspect` is installed")
pytestmark = pytest.mark.slow  # W&B starts a process of its own


def read(folder):
    """What W&B finds in each offline run, by the job's key."""
    found = {}
    for path in (folder.parent / "export" / "wandb").glob("offline-run-*/*.wandb"):
        code = "from wandb.cli.cli import cli; cli()"
        words = [sys.executable, "-c", code, "leet", "inspect", "--summary", "--json", str(path)]
        run = json.loads(subprocess.run(words, capture_output=True, check=True, encoding="utf-8").stdout)
        found[run["config"]["svdsweep"]["key"]] = run
    return found


def test_wandbs_own_reader_finds_settings_numbers_files_and_the_exit_code(folder, rows, capsys):
    assert cli.main(["export", str(folder), "--to", "wandb"]) == 0
    assert "wandb sync " in capsys.readouterr().out
    runs = read(folder)
    assert set(runs) == set(rows)
    key, row = next(iter(rows.items()))
    run = runs[key]
    assert (run["state"], run["exit_code"], run["project"]) == ("finished", 0, "motion")
    assert run["config"]["motion_bucket_id"] == 60
    assert run["config"]["provenance"]["gpu"] == "NVIDIA RTX 4090"
    assert run["summary"]["total_s"] == pytest.approx(row.values["total_s"])
    assert run["summary"]["series/motion_px"] == 3.0
    assert "vram_process_peak_gib" not in run["summary"]
    assert {run["summary"][name]["_type"] for name in ("video", "contact_sheet")} == {
        "video-file",
        "image-file",
    }
    failed = next(run for run in runs.values() if run["exit_code"] == 1)
    assert failed["tags"] == ["failed", "random weights"]
    assert "RuntimeError: x" in failed["notes"]
    again(folder, rows)


def again(folder, rows):
    """A second export adds what is new; a run of an older row goes, unless it was sent."""
    row, sent, _ = rows.values()
    place = folder.parent / "export" / "wandb"
    (sent_run,) = place.glob(f"offline-run-*-{sent.key}-*/*.wandb")
    sent_run.with_suffix(".wandb.synced").touch()  # as `wandb sync` does
    for one in (row, sent):
        Store(folder, "bench-2").append(dataclasses.replace(one, attempt=2))
    told = export(folder, Store(folder).rows().values(), "wandb")
    assert (told.new, told.there) == (2, 1)
    assert len(list(place.glob(f"offline-run-*-{row.key}-*"))) == 1
    assert len(list(place.glob(f"offline-run-*-{sent.key}-*"))) == 2
    assert read(folder)[row.key]["config"]["svdsweep"]["supersedes"].startswith(row.key)
    assert export(folder, Store(folder).rows().values(), "wandb").new == 0
