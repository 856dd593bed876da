"""cudnn_benchmark is on inside the networks and nowhere else."""

from typing import Any

import pytest
import torch


def test_it_is_on_in_each_network_and_off_behind_it(prepared: Any, forward: Any, pipe: Any) -> None:
    prepared(cudnn_benchmark=True)
    seen = {}
    layers = {
        "unet": pipe.unet.conv_in,
        "encoder": pipe.vae.encoder.conv_in,
        "decoder": pipe.vae.decoder.conv_in,
    }
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *_, name=name: seen.update({name: torch.backends.cudnn.benchmark}))
    forward(pipe)
    pipe.vae(torch.zeros(2, 3, 32, 32), num_frames=2)
    assert seen == {"unet": True, "encoder": True, "decoder": True}
    assert torch.backends.cudnn.benchmark is False


def test_a_run_that_fails_leaves_it_off(prepared: Any, pipe: Any) -> None:
    prepared(cudnn_benchmark=True)
    with pytest.raises(RuntimeError):
        pipe.vae.decode(torch.zeros(2, 1, 4, 4), num_frames=2)
    assert torch.backends.cudnn.benchmark is False


def test_where_cudnn_is_off_it_takes_no_effect(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    with pytest.raises(Exception, match="switched off"):
        prepared(cudnn_benchmark=True)
