"""A sweep over UNets and LoRA of one's own: each is told apart, shares a pipeline where it can, and is resumed."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from svdsweep.cli import main
from svdsweep.models.architectures import TINY
from svdsweep.models.tiny.train_lora import train
from svdsweep.store.rows import Store

FEW = ("num_inference_steps=2", "num_frames=3", "runner.devices=cpu", "name=weights")
AXES = ("model.unet=own,checkpoint-8", "model.lora=none,slow.safetensors", "model.lora_scale=0,30")


@pytest.mark.slow
def test_unets_and_a_lora_that_was_trained_are_swept_told_apart_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "checkpoint-8" / "unet"
    shutil.copytree(TINY / "unet", folder)
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file({n: t * 0.9 for n, t in weights.items()}, folder / "diffusion_pytorch_model.safetensors")
    train(tmp_path / "slow.safetensors", steps=1)
    assert main(["run", *AXES[:2], "model.lora_scale=0", *FEW]) == 0
    assert main(["run", *AXES, *FEW]) == 0
    assert "6 jobs, 4 ok, 2 to do" in "".join(capsys.readouterr())
    rows = list(Store(tmp_path / "runs" / "weights").rows().values())
    assert [row.status for row in rows] == ["ok"] * 6
    assert {row.values.get("lora_rank") for row in rows} == {None, "4"}
    frames = {}
    for row in rows:
        model = row.job.model
        frames[model.unet == "own", model.lora != "none", model.lora_scale] = row.values["mc_flicker_255"]
    for own in (True, False):
        assert frames[own, False, 1.0] == frames[own, True, 0.0] != frames[own, True, 30.0]
    assert frames[True, False, 1.0] != frames[False, False, 1.0]
    assert main(["report", "runs/weights"]) == 0
    table = (tmp_path / "runs" / "weights" / "results.md").read_text(encoding="utf-8")
    for name in ("unet=own", "unet=checkpoint-8", "lora=none", "lora=slow.safetensors", "lora_scale=30"):
        assert name in table


@pytest.mark.slow
def test_what_the_program_trains_is_read_as_it_was_written(tmp_path):
    """Without a step, what is added is nothing."""
    train(tmp_path / "a.safetensors", steps=0, rank=2)
    tensors = load_file(tmp_path / "a.safetensors")
    assert all(not tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
