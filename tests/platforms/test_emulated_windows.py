"""The command line on an emulated Windows, and without modules that only some systems have."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import EMULATED, environment

OLD_SWEEP = Path(__file__).parents[1] / "data" / "kept_sweeps" / "strategies"

WITHOUT = """
import sys
import psutil  # what it needs on Linux it does not need elsewhere
sys.modules |= dict.fromkeys(["fcntl", "resource", "termios", "pwd"])
import svdsweep
from svdsweep.cli import main
sys.exit(main(sys.argv[1:]))
"""


def svdsweep(folder, *words, start=("-m", "svdsweep"), system="windows"):
    """What a command prints; it must end well."""
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *start, *words],
        cwd=folder,
        env=environment(system) | cache,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_modules(folder, *words):
    return svdsweep(folder, *words, start=("-c", WITHOUT), system="this one")


def test_help_and_plan_need_no_module_of_one_system_alone(tmp_path):
    assert "exit codes" in without_modules(tmp_path, "--help")
    assert "2 to do" in without_modules(tmp_path, "plan", "model=tiny", "seed=1,2")


@pytest.mark.slow
def test_what_reads_and_predicts_needs_none_either(tmp_path):
    predicted = without_modules(tmp_path, "predict", "model=svd", "memory=baseline,model_offload")
    assert re.search(r"^model_offload .* yes$", predicted, re.MULTILINE)
    shutil.copytree(OLD_SWEEP, tmp_path / "old")
    for verb in (["report", "old"], ["compare", "old", "old"], ["merge", "old", "--into", "new"]):
        without_modules(tmp_path, *verb)
    assert (tmp_path / "old" / "report.html").stat().st_size > 100_000
    assert (tmp_path / "new" / "results.csv").exists()


@EMULATED
def test_a_driver_on_windows_is_one(tmp_path):
    code = "import svdsweep.platforms as p; print(p.system.__name__, p.host.__name__)"
    assert svdsweep(tmp_path, code, start=["-c"]).split() == ["svdsweep.platforms.windows"] * 2


@pytest.mark.slow
@EMULATED
def test_a_sweep_on_windows_runs_is_resumed_predicted_reported_and_merged(tmp_path):
    small = ["model=tiny", "num_inference_steps=2", "num_frames=4", "height=64", "width=64", "name=x"]
    assert "2 ok" in svdsweep(tmp_path, *small, "seed=1,2")
    assert "3 ok" in svdsweep(tmp_path, *small, "seed=1,2,3")
    assert len(list((tmp_path / "runs" / "x" / "videos").glob("*.mp4"))) == 3
    assert "model_offload" in svdsweep(tmp_path, "predict", "model=svd", "memory=baseline,model_offload")
    assert "report.html" in svdsweep(tmp_path, "report", "runs/x")
    assert "3 jobs" in svdsweep(tmp_path, "merge", "runs/x", "--into", "runs/y")
    assert b"\r\n" not in (tmp_path / "runs" / "y" / "results.csv").read_bytes()
