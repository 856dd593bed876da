"""norms_by_channel: PyTorch's group norms, from the sums of each channel."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from svdsweep.config import Memory
from svdsweep.memory.norms_by_channel import apply, by_channel, check

CPU = torch.device("cpu")
SHAPES = [(3, 64, 5), (2, 64, 8, 6), (1, 64, 5, 4, 6), (2, 32, 7, 9)]
"""As attention, spatial and temporal blocks have them."""


def norm_of(channels: int) -> torch.nn.GroupNorm:
    generator = torch.Generator().manual_seed(1)
    norm = torch.nn.GroupNorm(32, channels, eps=1e-6).requires_grad_(False)
    norm.weight.copy_(torch.randn(channels, generator=generator))
    norm.bias.copy_(torch.randn(channels, generator=generator))
    return norm


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (50.0, 1.0), (0.0, 1e-4), (-3.0, 20.0)], ids=str)
def test_a_norm_equals_pytorchs(shape: tuple[int, ...], mean: float, deviation: float) -> None:
    x = mean + deviation * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    norm = norm_of(shape[1])
    expected = norm(x.double().float())
    exact = torch.nn.functional.group_norm(
        x.double(), 32, norm.weight.double(), norm.bias.double(), norm.eps
    ).float()
    # no farther from the truth than PyTorch's own, with room for what x² loses where the mean is large
    allowed = 4 * (expected - exact).abs().max() + 1e-5 + 1e-6 * (mean / deviation) ** 2
    assert (by_channel(norm, x) - exact).abs().max() <= allowed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_full(dtype: torch.dtype) -> None:
    x = (4 + torch.randn(2, 64, 40, 40, generator=torch.Generator().manual_seed(0))).to(dtype)
    norm = norm_of(64).to(dtype)
    exact = torch.nn.functional.group_norm(x.double(), 32, norm.weight.double(), norm.bias.double(), norm.eps)
    got = by_channel(norm, x)
    assert got.dtype == dtype
    assert (got.double() - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()


def test_a_channel_without_spread_is_the_bias() -> None:
    norm = norm_of(32)
    assert torch.allclose(
        by_channel(norm, torch.full((1, 32, 6, 6), 7.0)), norm.bias[:, None, None], atol=1e-2
    )


@pytest.mark.parametrize(
    ("knobs", "unet", "decoder"),
    [
        *(({"compile": "whole"}, True, False), ({"compile_vae": True}, False, True)),
        ({"compile": "regional", "compile_vae": True}, False, True),
    ],
    ids=str,
)
def test_only_compiled_networks_are_changed(pipe: Any, knobs: Any, unet: bool, decoder: bool) -> None:
    memory = Memory(norms_by_channel=True, **knobs)
    assert "kept their forward" in str(check(pipe, memory, CPU))
    apply(pipe, memory, CPU)
    assert check(pipe, memory, CPU) is None
    for network, changed in ((pipe.unet, unet), (pipe.vae.decoder, decoder)):
        norms = [m for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]
        assert norms
        assert all(("forward" in vars(n)) is changed for n in norms)


def test_a_network_without_norms_is_told() -> None:
    pipe = SimpleNamespace(unet=torch.nn.Linear(1, 1), vae=SimpleNamespace(decoder=torch.nn.Linear(1, 1)))
    assert "0 of 0" in str(check(pipe, Memory(compile="whole"), CPU))


def test_a_forward_and_a_decode_equal_the_plain_ones(pipe: Any, forward: Any) -> None:
    z = torch.randn(4, pipe.vae.config.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, picture = forward(pipe), pipe.vae.decode(z, num_frames=4).sample
    apply(pipe, Memory(compile="whole", compile_vae=True), CPU)
    assert (forward(pipe) - plain).abs().max() <= 1e-4 * plain.abs().max()
    assert (pipe.vae.decode(z, num_frames=4).sample - picture).abs().max() <= 1e-3
