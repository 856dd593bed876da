"""temporal_conv2d: the same frames, by convolutions that see four dimensions, and lie channels-last where they may."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from diffusers.models.resnet import TemporalResnetBlock

from svdsweep.config import Memory
from svdsweep.memory.temporal_conv2d import KERNEL, apply, temporal_blocks

CPU = torch.device("cpu")
WITHIN = 1e-5
PICTURES_WITHIN = 1e-4
"""A hundredth of a level of 8 bits: the embedded decoder makes more of rounding."""


@torch.no_grad()
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 4, 4), (4, 3, 5), (9, 4, 8)])
def test_a_decode_equals_the_plain_one(
    pipe: Any, prepared: Any, frames: int, height: int, width: int, channels_last: bool
) -> None:
    z = torch.randn(
        (frames, pipe.vae.config.latent_channels, height, width), generator=torch.Generator().manual_seed(0)
    )
    expected = pipe.vae.decode(z, num_frames=frames).sample
    prepared(temporal_conv2d=True, channels_last=channels_last)
    assert (pipe.vae.decode(z, num_frames=frames).sample - expected).abs().max() <= PICTURES_WITHIN
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("embedded", [False, True])
def test_a_block_with_weights_far_from_their_beginning(embedded: bool) -> None:
    torch.manual_seed(0)
    block = TemporalResnetBlock(64, 64, temb_channels=48 if embedded else None).eval().requires_grad_(False)
    x, temb = torch.randn(2, 64, 5, 4, 6), torch.randn(2, 5, 48) if embedded else None
    expected = block(x, temb)
    pipe = SimpleNamespace(unet=torch.nn.Sequential(block))
    apply(pipe, Memory(temporal_conv2d=True, decode="streamed"), CPU)
    got = block(x, temb)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= WITHIN
    assert (expected - x).abs().max() > 0.1


def test_every_convolution_over_time_sees_four_dimensions_and_is_called(
    prepared: Any, forward: Any, pipe: Any
) -> None:
    prepared(temporal_conv2d=True)
    seen = []
    convolutions = [m for m in pipe.unet.modules() if getattr(m, "kernel_size", None) == KERNEL]
    for conv in convolutions:  # offloads fetch weights by such hooks
        conv.register_forward_pre_hook(lambda _m, args: seen.append(args[0].dim()))
    forward(pipe)
    assert seen == [4] * len(convolutions)
    assert len(convolutions) == 2 * len(temporal_blocks(pipe.unet))


def test_with_channels_last_frames_are_never_turned_over(prepared: Any, forward: Any, pipe: Any) -> None:
    prepared(temporal_conv2d=True, channels_last=True)
    block = temporal_blocks(pipe.unet)[0]
    given, answered = [], []
    for conv in (block.conv1, block.conv2):
        assert conv.weight[..., 0].is_contiguous(memory_format=torch.channels_last)
        conv.register_forward_hook(
            lambda _m, _a, out: answered.append(out.is_contiguous(memory_format=torch.channels_last))
        )
    block.register_forward_hook(lambda _m, args, out: given.append((args[0].stride(), out.stride())))
    forward(pipe)
    assert answered == [True, True]
    (before, after), *_ = given
    assert before == after
    assert before[1] == 1


def test_a_streamed_decoder_is_left_alone(prepared: Any, pipe: Any) -> None:
    prepared(temporal_conv2d=True, decode="streamed")
    assert all("forward" in vars(block) for block in temporal_blocks(pipe.unet))
    assert not any("forward" in vars(block) for block in temporal_blocks(pipe.vae.decoder))


def test_another_models_blocks_are_refused(pipe: Any, prepared: Any) -> None:
    pipe.vae = AutoencoderKLTemporalDecoder()
    temporal_blocks(pipe.vae)[0].conv1.kernel_size = (3, 3, 3)
    with pytest.raises(ValueError, match="not Stable Video Diffusion's"):
        prepared(temporal_conv2d=True)
