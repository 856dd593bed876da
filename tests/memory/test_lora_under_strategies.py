"""A LoRA goes with every strategy, and where its scale is changed on a warm pipeline the weights are a fresh one's."""

import pytest
import torch
from lora_files import ATTENTION, CONVOLUTIONS, diffusers, factors, written

from svdsweep.config import Memory, Model
from svdsweep.config.memory import keeps_unet_weights
from svdsweep.memory.apply import prepare
from svdsweep.models.load import load_pipeline
from svdsweep.models.locate import resolve

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    path = tmp_path_factory.mktemp("lora") / "a.safetensors"
    return str(written(path, diffusers(factors((ATTENTION[0], CONVOLUTIONS[-1])))))


def prepared(memory, **settings):
    pipe = load_pipeline(resolve(Model(**settings)), CPU)
    prepare(pipe, memory, CPU)
    return pipe


def equal(pipe, other):
    theirs = other.unet.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in pipe.unet.state_dict().items())


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        *(
            pytest.param(knobs, marks=pytest.mark.slow)
            for knobs in ({"channels_last": True, "temporal_conv2d": True}, {"offload": "model"})
        ),
    ],
    ids=str,
)
def test_the_weights_of_another_scale_are_those_of_a_fresh_pipeline(lora, knobs):
    memory = Memory(**knobs)
    assert keeps_unet_weights(memory)
    warm = prepared(memory, lora=lora)
    for scale in (-3.0, 0.0):
        warm.fused_lora.set(scale)
        assert equal(warm, prepared(memory, lora=lora, lora_scale=scale))


@pytest.mark.parametrize(
    "knobs", [pytest.param({"unet_weights": "fp8"}, marks=pytest.mark.slow), {"fused_qkv": True}], ids=str
)
def test_at_scale_0_a_strategy_that_changes_weights_makes_of_them_what_it_makes_without(lora, knobs):
    memory = Memory(**knobs)
    assert not keeps_unet_weights(memory)
    assert equal(prepared(memory, lora=lora, lora_scale=0.0), prepared(memory))
    assert not equal(prepared(memory, lora=lora), prepared(memory))
