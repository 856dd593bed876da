"""The notebook runs from top to bottom on a fresh sweep, and is stored without outputs."""

from pathlib import Path

import nbformat
import pytest

from svdsweep.cli import main

PATH = Path(__file__).parents[1] / "notebooks" / "explore.ipynb"


def test_it_is_stored_without_outputs():
    for cell in nbformat.read(PATH, as_version=4).cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


def test_it_uses_the_public_face_alone():
    code = "".join(c.source for c in nbformat.read(PATH, as_version=4).cells if c.cell_type == "code")
    assert "import svdsweep\n" in code
    assert "svdsweep." not in code.replace("svdsweep.open(", "")


def outputs(folder, monkeypatch):
    from nbclient import NotebookClient  # brings jupyter, for which all other tests would wait

    monkeypatch.setenv("SVDSWEEP_FOLDER", str(folder))
    notebook = nbformat.read(PATH, as_version=4)
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(PATH.parent)}}
    ).execute()
    return str([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])


@pytest.mark.slow
def test_it_runs_on_a_fresh_sweep(tmp_path, monkeypatch):
    grid = ["seed=0,1,2", "motion_bucket_id=20,220", "memory=baseline,chunked_decode"]
    few = ["num_inference_steps=1", "num_frames=9"]
    assert main([*grid, *few, f"runs_dir='{tmp_path}'", "name=fresh", "runner.devices=cpu"]) == 0
    told = outputs(tmp_path / "fresh", monkeypatch)
    for part in ("chunked_decode", "motion_px", "tabular", "image/png", "python -m svdsweep"):
        assert part in told
