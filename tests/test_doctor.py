"""The doctor tells what is there, and each trouble with its cure."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from svdsweep import cli
from svdsweep.doctor import device, host
from svdsweep.models import locate
from svdsweep.runner import devices


def test_it_tells_of_everything_and_ends_by_its_troubles(tmp_path, capsys):
    code = cli.main(["doctor", "--quick", "--json", "--runs-dir", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)
    names = {finding["name"] for finding in told}
    assert {
        "torch",
        "diffusers",
        "ffmpeg",
        "model tiny",
        "model svd_xt",
        "runs",
        "weights' cache",
        "host memory",
    } <= names
    assert any(name.startswith("attention") for name in names)
    assert all(finding["cure"] for finding in told if finding["state"] == "trouble")
    assert code == int(any(finding["state"] == "trouble" for finding in told))


def test_the_terminal_shows_a_cure_under_its_trouble(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    assert cli.main(["doctor", "--quick", "--runs-dir", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "TROUBLE" in out
    assert "runs_dir=FOLDER" in out


def test_measured_rates_are_rates():
    import torch

    cpu = torch.device("cpu")
    assert device.matrix_rate(torch, cpu).value > 1e-4
    assert device.copy_rate(torch, cpu).value > 0.01


def test_a_driver_that_does_not_answer_is_a_trouble(monkeypatch):
    monkeypatch.setattr(devices, "installed", list)
    monkeypatch.setattr(Path, "glob", lambda *_: [Path("/dev/nvidia0")])
    (finding,) = host.gpus()
    assert (finding.state, "--gpus all" in finding.cure) == ("trouble", True)


def test_hidden_gpus_are_a_trouble(monkeypatch):
    monkeypatch.setattr(devices, "installed", lambda: [["GPU-1234"]])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    (finding,) = host.gpus()
    assert "CUDA_VISIBLE_DEVICES=7" in finding.found
    assert "nvidia-smi -L" in finding.cure


@pytest.mark.parametrize(("cuda", "cure"), [(None, "build of PyTorch for CUDA"), ("13.0", "NVIDIA driver")])
def test_a_torch_that_cannot_use_the_gpu_is_a_trouble(monkeypatch, cuda, cure):
    monkeypatch.setattr(devices, "installed", lambda: [["GPU-1234"]])
    torch = SimpleNamespace(
        __version__="9", version=SimpleNamespace(cuda=cuda), cuda=SimpleNamespace(is_available=lambda: False)
    )
    finding = device.build(torch)
    assert finding.state == "trouble"
    assert cure in finding.cure


def test_an_ffmpeg_without_the_encoder_is_a_trouble(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="mpeg4"))
    assert host.ffmpeg().state == "trouble"


def test_a_half_downloaded_model_is_a_trouble(monkeypatch, tmp_path):
    monkeypatch.setattr(locate, "folder_of", lambda _: tmp_path)
    found = {f.name: f for f in host.weights()}
    assert found["model svd_xt"].state == "trouble"
    assert "hf download" in found["model svd_xt"].cure


def test_a_compiler_that_fails_is_a_trouble():
    import torch

    def broken(_):
        raise RuntimeError("no g++")

    fake = SimpleNamespace(compile=broken, inference_mode=torch.inference_mode, ones=torch.ones)
    finding = device.compiler(fake, torch.device("cpu"))
    assert finding.state == "trouble"
    assert "g++" in finding.cure


def test_an_attention_kernel_that_answers_nonsense_does_not_work():
    import torch

    cpu = torch.device("cpu")
    assert "not finite" in device._tried(torch, cpu, lambda: torch.tensor(float("nan")))
    assert device._tried(torch, cpu, lambda: torch.tensor(1.0)) is None
