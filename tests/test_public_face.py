"""What `import svdsweep` offers, as a script or a notebook uses it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import svdsweep

KEPT = Path(__file__).parent / "data" / "kept_sweeps" / "strategies"


@pytest.fixture(scope="module")
def sweep() -> svdsweep.Sweep:
    return svdsweep.open(KEPT)


def test_importing_it_imports_neither_torch_nor_pandas():
    code = (
        "import sys, svdsweep; sys.exit(bool({'torch', 'pandas', 'hydra', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_folder_takes_the_place_of_a_function_of_its_name():
    code = (
        "import svdsweep, svdsweep.predict.gpus, svdsweep.commands.score; assert callable(svdsweep.predict)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_typed():
    assert (Path(svdsweep.__file__).parent / "py.typed").is_file()


def test_a_sweep_that_is_opened_tells_its_jobs(sweep):
    assert sweep.name == "strategies"
    assert len(sweep.table) == len(sweep.rows) == 16
    assert set(sweep.table["key"]) == set(sweep.rows)
    assert not sweep.problems
    assert "16 jobs" in repr(sweep)
    ok = [key for key, row in sweep.rows.items() if row.status == "ok"]
    assert all(len(sweep.repeats[key]) > 1 for key in ok)


def test_it_compares_strategies(sweep):
    names = [s.name for s in sweep.strategies]
    assert names[0] == "baseline"
    assert set(names) == {"baseline", "model_offload", "chunked_decode", "cuda_graphs"}
    assert set(sweep.strategy_table()["memory"]) == set(names)
    assert sweep.front
    assert "toprule" in sweep.latex()
    assert all(choice.fastest is None for choice in sweep.best_for(8, 24))  # no GPU counted its memory


def test_it_answers_along_what_was_swept(sweep):
    assert sweep.axes == ["motion_bucket_id"]
    means = sweep.response("motion_bucket_id", "motion_px")
    assert set(means["at"]) == {60.0, 180.0}
    assert sweep.rises("motion_bucket_id", "motion_px").value is not None
    assert len(sweep.claims) == 7
    assert {plot.name for plot in sweep.plots} >= {"stage_times", "response_motion_bucket_id"}


def test_it_tells_the_command_of_a_job(sweep):
    assert "motion_bucket_id=60" in sweep.command(str(sweep.table["key"][0]))


def test_a_folder_that_is_none_is_one_sentence(tmp_path):
    with pytest.raises(svdsweep.UserError, match="no such folder"):
        svdsweep.open(tmp_path / "nothing")


def test_a_wrong_setting_is_refused(tmp_path):
    with pytest.raises(svdsweep.UserError, match="Did you mean motion_bucket_id"):
        svdsweep.run(["motion_buckt_id=60", f"runs_dir='{tmp_path}'"])


@pytest.mark.slow
def test_predictions_are_one_line_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = svdsweep.predict(
        ["model=tiny", "memory=baseline,cuda_graphs", "num_frames=2", "num_inference_steps=1"], gpu="rtx4090"
    )
    assert list(table["memory"]) == ["baseline", "cuda_graphs"]
    assert (table["predicted_vram_gib"] > 0).all()
    assert (table["denoise_peak_gib"] <= table["predicted_vram_gib"]).all()
    assert set(table["fits 8 GB"]) == {"yes"}
    assert (table["floor_s"] < table["eager_floor_s"]).all()


def test_frames_and_files_are_scored_alike(tmp_path):
    import PIL.Image

    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), np.uint8)
    for i, frame in enumerate(frames):
        PIL.Image.fromarray(frame).save(tmp_path / f"{i}.png")
    from_memory, from_files = svdsweep.score(frames), svdsweep.score(tmp_path)
    assert from_memory.values == from_files.values
    assert from_memory.values["adj_psnr_db"] < 12
    assert from_memory.series == from_files.series != {}


def test_a_picture_is_what_frames_are_compared_with(tmp_path):
    import PIL.Image

    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)
    PIL.Image.fromarray(frames[0]).save(tmp_path / "picture.png")
    assert svdsweep.score(frames, image=tmp_path / "picture.png").values["first_psnr_db"] == 100.0
