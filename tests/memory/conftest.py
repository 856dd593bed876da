"""The real tiny pipeline, fresh for each test, and the inputs of one UNet forward."""

from typing import Any

import pipelines
import pytest
import torch

from svdsweep.config import Memory, Model
from svdsweep.memory.apply import prepare

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def plain() -> Any:
    """The pipeline as it was loaded, which no test changes."""
    return pipelines.copied(Model(), CPU, CPU)


@pytest.fixture
def pipe() -> Any:
    return pipelines.copied(Model(), CPU, CPU)


@pytest.fixture
def prepared(pipe: Any) -> Any:
    def under(**knobs: Any) -> Any:
        prepare(pipe, Memory(**knobs), CPU)
        return pipe

    return under


@pytest.fixture(scope="session")
def forward() -> Any:
    """One guided UNet forward of 4 frames; the same inputs every time."""

    def run(pipe: Any, videos: int = 2, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        config = pipe.unet.config

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        with torch.no_grad():
            sample: torch.Tensor = pipe.unet(
                draw(videos, 4, config.in_channels, 16, 16),
                torch.tensor(1.5),
                encoder_hidden_states=draw(videos, 1, config.cross_attention_dim),
                added_time_ids=draw(videos, 3).abs(),
                return_dict=False,
            )[0]
        return sample

    return run
