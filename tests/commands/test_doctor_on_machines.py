"""What doctor says first, and of GPUs, on machines that are not here."""

import gpus
import pytest
import torch

from svdsweep.commands.doctor import confirmed, device, examine, host
from svdsweep.memory.conflicts import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_with_what_a_real_machine_has_confirmed_of_this_one(monkeypatch, tmp_path, kind):
    gpus.machine(monkeypatch, tmp_path, kind)
    monkeypatch.setattr(host, "examine", lambda _: [])
    monkeypatch.setattr(device, "examine", lambda _: [])
    monkeypatch.setattr(confirmed.platform, "system", lambda: "Darwin" if kind == "mps" else "Linux")
    (first,) = examine(tmp_path)
    assert first.found.startswith(KINDS[kind])
    known = ("ok", "confirmed on real machines") if kind in ("cpu", "cuda") else ("note", "not yet confirmed")
    assert first.state == known[0]
    assert first.found.endswith(known[1])


@pytest.mark.parametrize("system", ["Windows", "Darwin", "Plan9"])
def test_elsewhere_nothing_is_confirmed(monkeypatch, system):
    monkeypatch.setattr(confirmed.platform, "system", lambda: system)
    assert {confirmed.here(kind).state for kind in KINDS} == {"note"}


def test_other_gpus_are_named_and_those_that_torch_cannot_use_are_a_trouble(monkeypatch, tmp_path):
    gpus.machine(monkeypatch, tmp_path, "rocm")
    (found,) = host.gpus()
    assert (found.name, found.found) == ("GPU rocm:0", "AMD Radeon RX 7900 XTX, 24.0 GiB")
    gpus.machine(monkeypatch, tmp_path, "rocm", build="cpu")
    (found,) = host.gpus()
    assert (found.state, "install PyTorch for ROCm" in found.found) == ("trouble", True)


@pytest.mark.parametrize("kind", ["rocm", "xpu", "mps"])
def test_every_kind_of_gpu_is_tried(monkeypatch, tmp_path, kind):
    gpus.machine(monkeypatch, tmp_path, kind)
    with monkeypatch.context() as patched, gpus.computing(patched, kind) as card:
        patched.setattr(torch.accelerator, "current_accelerator", lambda check_available: card)
        patched.setattr(torch.accelerator, "device_count", lambda: 1)
        patched.setattr(torch.cuda, "device_count", lambda: 1)
        patched.setattr(torch.version, "cuda", None)
        if kind != "rocm":
            patched.setattr(torch.cuda, "is_available", lambda: False)
        built, memory, *others = device.examine(measured=False)
    assert (built.name, built.state) == ({"rocm": "ROCm"}.get(kind, kind), "ok")
    assert memory.name == str(card)
    assert f"of {12 if kind == 'mps' else 16}.0 GiB free" in memory.found
    assert any(finding.name == f"attention, {card}" for finding in others)


def test_a_gpu_that_does_not_answer_is_a_trouble_and_no_traceback(monkeypatch):
    def silent(_):
        raise RuntimeError("no driver")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", silent)
    _, trouble = device.examine(measured=True)
    assert (trouble.state, "no driver" in trouble.found) == ("trouble", True)
