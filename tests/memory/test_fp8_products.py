"""unet_weights=fp8_products: real products of fp8 on the CPU, held against those of the full weights."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from svdsweep.config import Job, Memory, Model
from svdsweep.memory import fp8_products
from svdsweep.memory.contract import NoEffect
from svdsweep.memory.fp8_products import FP8, Fp8Linear, scaled
from svdsweep.predict.simulate import simulate

ASKED = {"unet_weights": "fp8_products"}
ROUNDINGS = 8
"""Of the largest value: processors with matrix units sum a product in another order, in several parts."""


@pytest.fixture(autouse=True)
def without_one_dnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its product of fp8 is a reference kernel on most processors: a forward takes 50 s, PyTorch's own half a one."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def linear(dtype: torch.dtype) -> torch.nn.Linear:
    layer = torch.nn.Linear(64, 96, dtype=dtype).requires_grad_(False)
    both = drawn(96, 65) / 8
    layer.load_state_dict({"weight": both[:, :64], "bias": both[:, 64]})
    return layer


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_product_is_that_of_the_rounded_factors(dtype: torch.dtype) -> None:
    layer, x = linear(dtype), drawn(3, 5, 64).to(dtype)
    small = Fp8Linear(layer)
    rows, scale = scaled(x)
    expected = (rows.float() * scale) @ (small.weight.float() * small.scale).t() + layer.bias.float()
    got = small(x)
    assert (got.shape, got.dtype) == ((3, 5, 96), dtype)
    assert (got.float() - expected).abs().max() <= ROUNDINGS * torch.finfo(dtype).eps * expected.abs().max()
    plain, got = layer(x).float(), got.float()
    assert 0.001 < (got - plain).norm() / plain.norm() < 0.06  # three bits of mantissa in both factors
    # single values go astray, by 0.0005 in the sum; a wrong scale moves them all
    assert (got * plain).sum() / plain.square().sum() == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("largest", [3e-7, 1e-4, 0.37, 1.0, 447.9, 6e4])
def test_the_largest_value_is_the_largest_of_fp8_and_nothing_becomes_nan(
    largest: float, dtype: torch.dtype
) -> None:
    x = torch.linspace(-largest, largest, 101).to(dtype)
    small, scale = scaled(x)
    assert small.dtype == FP8
    assert small.float().abs().max() == torch.finfo(FP8).max
    assert (small.float() * scale - x).abs().max() <= largest / 16


def test_rows_that_come_turned_over_are_handed_on_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the one frame of a forward without guidance has them; on the GPU a product refuses other rows."""
    given: list[bool] = []
    product = torch._scaled_mm

    def watched(rows: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        given.append(rows.stride() == (64, 1))
        return product(rows, *rest, **more)

    monkeypatch.setattr(torch, "_scaled_mm", watched)
    layer = linear(torch.float32)
    x = drawn(1, 64, 9).transpose(1, 2)
    small = Fp8Linear(layer)
    assert torch.equal(small(x), small(x.contiguous()))
    assert given == [True, True]


def test_nothing_in_gives_the_bias() -> None:
    layer = linear(torch.float32)
    assert torch.equal(Fp8Linear(layer)(torch.zeros(2, 64)), layer.bias.expand(2, -1))


@pytest.mark.parametrize(
    "company",
    [
        {},
        pytest.param(
            {"fused_qkv": True, "single_token_cross_attention": True, "attention": "measured"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"offload": "group_leaf", "transformer_parts": 3}, marks=pytest.mark.slow),
        pytest.param(
            {"compile": "whole", "compile_backend": "eager", "fused_qkv": True}, marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_a_forward_is_near_the_plain_one(pipe: Any, prepared: Any, forward: Any, company: Any) -> None:
    plain = forward(pipe)
    got = forward(prepared(**ASKED, **company))
    assert 1e-4 < (got - plain).norm() / plain.norm() < 0.05


def test_the_transformers_products_are_replaced_and_those_of_few_rows_are_not(prepared: Any) -> None:
    pipe = prepared(**ASKED, fused_qkv=True)
    small = {name for name, m in pipe.unet.named_modules() if isinstance(m, Fp8Linear)}
    full = {name for name, m in pipe.unet.named_modules() if isinstance(m, torch.nn.Linear)}
    for ending in ("attn1.to_qkv", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"):
        assert [name for name in small if name.endswith(ending)], ending
        assert not [name for name in full if name.endswith(ending)], ending
    assert not [name for name in small if "attn2" in name or "time_pos_embed" in name]
    assert [name for name in full if "time_pos_embed" in name]


def test_products_of_sizes_that_fp8_does_not_take_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [(16, 24), (24, 16), (32, 16)]
    transformer = torch.nn.Sequential(*(torch.nn.Linear(*size) for size in sizes))
    monkeypatch.setattr(fp8_products, "transformers_of", lambda _: [transformer])
    fp8_products.apply(SimpleNamespace(unet=None), Memory(**ASKED), torch.device("cpu"))
    assert [isinstance(layer, Fp8Linear) for layer in transformer] == [False, False, True]


def test_layers_as_they_were_and_a_device_without_such_products_are_refused(
    pipe: Any, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = fp8_products.check(pipe, Memory(unet_weights="fp8_products"), torch.device("cpu"))
    assert reason == "no linear layer of the UNet's transformers was replaced"

    def refusing(*_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError("torch._scaled_mm is only supported on devices of compute capability >= 8.9\nmore")

    monkeypatch.setattr(torch, "_scaled_mm", refusing)
    with pytest.raises(NoEffect, match=r"no fp8 products of torch\.float32 \(.*>= 8\.9\)\.$"):
        prepared(**ASKED)


@pytest.mark.slow
def test_predicted_products_run_at_the_rate_of_fp8_and_weigh_half() -> None:
    model = Model(dtype="float16", weights="random")
    full, small = (
        simulate(Job(model=model, num_frames=4, memory=Memory(unet_weights=kind)), [4])[4].stages["denoise"]
        for kind in ("full", "fp8_products")
    )
    kinds = {kernel.kind for kernel in small.kernels}
    assert {"float8", "float16"} <= kinds
    assert "float8" not in {kernel.kind for kernel in full.kernels}
    assert small.tflop == pytest.approx(full.tflop)
    assert small.weights_gib < full.weights_gib
