"""The embedded model, loaded once for a module's tests."""

from collections.abc import Iterator

import pytest
import torch
from diffusers import StableVideoDiffusionPipeline

from svdsweep.models.tiny import WEIGHTS, evaluate


@pytest.fixture(scope="module")
def pipeline() -> Iterator[StableVideoDiffusionPipeline]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield evaluate.load(WEIGHTS)
    torch.set_num_threads(threads)
