"""Strategies go with other decoders, or pass over what is the temporal one's."""

from typing import Any

import pipelines
import pytest
import torch

from svdsweep.config import Job, Memory, Model
from svdsweep.memory.apply import prepare
from svdsweep.memory.conflicts import why_not
from svdsweep.memory.other_decoders import applied, passed_over

CPU = torch.device("cpu")
LATENTS = torch.randn(1, 3, 32, 4, 4, generator=torch.Generator().manual_seed(0))


def decoded(pipe: Any) -> torch.Tensor:
    with torch.no_grad():
        video: torch.Tensor = pipe.decode_latents(LATENTS.to(pipe.unet.dtype), 3, 3)
    return video


@pytest.mark.parametrize(
    "knobs",
    [
        {"vae_dtype": "bfloat16"},
        {"offload": "group_leaf"},
        pytest.param({"channels_last": True}, marks=pytest.mark.slow),
        pytest.param({"temporal_conv2d": True}, marks=pytest.mark.slow),
        pytest.param({"offload": "model"}, marks=pytest.mark.slow),
        pytest.param({"compile_vae": True, "compile_backend": "eager"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_strategy_that_touches_the_vae_keeps_another_decoders_frames(knobs: dict[str, Any]) -> None:
    model = Model(decoder="taesdv")
    job = Job(model=model, memory=Memory(**knobs), num_frames=3)
    assert why_not(job, "cpu") is None
    plain, pipe = pipelines.copied(model, CPU, CPU), pipelines.copied(model, CPU, CPU)
    prepare(pipe, applied(job), CPU)
    rounding = 0.1 if "vae_dtype" in knobs else 1e-4  # of values in -1 to 1; bfloat16 keeps 8 bits
    torch.testing.assert_close(decoded(pipe), decoded(plain), atol=rounding, rtol=0)


def test_a_strategy_that_does_more_passes_over_what_is_the_temporal_decoders() -> None:
    memory = Memory(offload="model", decode="streamed", decode_budget_gib=0)
    job = Job(model=Model(decoder="taesd"), memory=memory)
    assert why_not(job, "cuda") is None
    assert applied(job) == Memory(offload="model")
    assert passed_over(job) == [
        "memory.decode, memory.decode_budget_gib passed over: model.decoder=taesd decodes frame by frame"
    ]
    assert applied(Job(memory=memory)) == memory
    assert not passed_over(Job(memory=memory))
