"""The exact strategies on a block of SVD-XT's UNet as wide as it is: the middle one, with its 1,280 channels, 20 heads
and 9×16 places (576×1024), in float32; three of its 25 frames."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel

from svdsweep.config import Memory
from svdsweep.memory.apply import KNOBS
from svdsweep.models.architectures import svd
from svdsweep.models.load import fill

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
VIDEOS, FRAMES, CHANNELS, HEIGHT, WIDTH, TOKEN = 2, 3, 1280, 9, 16, 1024
WITHIN = 2e-6
"""Relative error (root of mean squares): what rounding explains in float32."""
EXACT: list[dict[str, Any]] = [
    {"split_guidance": True},
    {"temporal_conv2d": True},
    {"fused_qkv": True, "transformer_parts": 3},
    {
        "single_token_cross_attention": True,
        "fused_qkv": True,
        "channels_last": True,
        "temporal_conv2d": True,
        "attention": "measured",
    },
    {"single_token_cross_attention": True, "split_guidance": True, "transformer_parts": 3},
]


class Middle(torch.nn.Module):
    """The block behind a UNet's signature: (B, F, C, h, w), embeddings (B, 1, 1024) of the image, and the time's."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.block = UNetSpatioTemporalConditionModel(**svd(num_frames=25).unet).mid_block
        fill(self.block, torch.float32, CPU, torch.Generator().manual_seed(0))

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_time_ids: torch.Tensor,
        return_dict: bool = True,
    ) -> tuple[torch.Tensor]:
        videos, frames = sample.shape[:2]
        out = self.block(
            hidden_states=sample.flatten(0, 1),
            temb=added_time_ids.repeat_interleave(frames, 0),
            encoder_hidden_states=encoder_hidden_states.repeat_interleave(frames, 0),
            image_only_indicator=torch.zeros(videos, frames),
        )
        return (out.unflatten(0, (videos, frames)),)


def answer(middle: Middle, knobs: dict[str, Any]) -> torch.Tensor:
    """Of a copy of `middle` under `knobs`; to the same input every time."""
    vae = torch.nn.Module()
    vae.decoder = torch.nn.Identity()
    pipe: Any = SimpleNamespace(unet=copy.deepcopy(middle), vae=vae)
    memory = Memory(**knobs)
    applied = [knob for knob in KNOBS if knob.wanted(memory) and knob.name != "offload"]
    assert bool(applied) == bool(knobs)
    for knob in applied:
        knob.apply(pipe, memory, CPU)
    draw = torch.Generator().manual_seed(1)
    inputs = [
        torch.randn(*shape, generator=draw)
        for shape in ((VIDEOS, FRAMES, CHANNELS, HEIGHT, WIDTH), (VIDEOS, 1, TOKEN), (VIDEOS, CHANNELS))
    ]
    with torch.no_grad():
        out: torch.Tensor = pipe.unet.forward(
            inputs[0], torch.tensor(1.0), inputs[1], inputs[2], return_dict=False
        )[0]
    assert all(knob.check(pipe, memory, CPU) is None for knob in applied)
    return out


@pytest.fixture(scope="module")
def middle() -> Middle:
    return Middle().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def plain(middle: Middle) -> torch.Tensor:
    return answer(middle, {})


@pytest.mark.parametrize("knobs", EXACT, ids=lambda k: "+".join(k))
def test_a_block_of_full_width_answers_as_the_plain_one(
    middle: Middle, plain: torch.Tensor, knobs: dict[str, Any]
) -> None:
    error = (answer(middle, knobs) - plain).square().mean().sqrt() / plain.square().mean().sqrt()
    print(f"relative error {error:.1e}")
    assert error <= WITHIN
    assert plain.std() > 0.5
