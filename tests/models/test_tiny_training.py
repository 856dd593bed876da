"""The embedded model's training program, a few steps of it: what it leaves, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svdsweep.models.tiny import evaluate
from svdsweep.models.tiny.architecture import make_unet
from svdsweep.models.tiny.export import unpack
from svdsweep.models.tiny.shortcut import frozen_parts


def train(out: Path, *more: str) -> str:
    command = [
        sys.executable,
        "-m",
        "svdsweep.models.tiny",
        "train",
        "--out",
        str(out),
        "--batch",
        "2",
        *more,
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_few_steps_leave_a_pipeline_and_the_copy_as_it_is(tmp_path: Path) -> None:
    assert "The model is in" in train(tmp_path, "--steps", "8", "--vae-steps", "2", "--processes", "2")
    first = torch.load(tmp_path / "unet.pt", weights_only=True)
    assert first["step"] == 8

    slow = ("--rate", "0.4", "--slow-share", "0.7", "--slow-weight", "3")
    resumed = ("--only", "unet", "--resume", str(tmp_path / "unet.pt"))
    train(tmp_path, *resumed, *slow, "--steps", "1", "--processes", "1")
    second = torch.load(tmp_path / "unet.pt", weights_only=True)
    assert second["step"] == 16
    assert any(not torch.equal(value, first["model"][name]) for name, value in second["model"].items())

    pipeline = evaluate.load(tmp_path / "weights")
    for (trained, part), (fresh, _) in zip(
        frozen_parts(pipeline.unet), frozen_parts(make_unet()), strict=True
    ):
        assert torch.equal(trained[part], fresh[part].half().float())

    unpack(tmp_path / "weights", tmp_path / "again")
    decoder = ("--only", "vae", "--resume-vae", str(tmp_path / "again" / "vae.pt"), "--vae-steps", "1")
    train(tmp_path, *decoder)
