"""A cache of predictions of their own for all tests here, and the jobs that they predict."""

import pytest

from svdsweep.config import Job, Model


@pytest.fixture(autouse=True)
def own_cache(cache_home: object) -> None:
    """No test here reads or writes the user's."""


@pytest.fixture
def tiny_job() -> Job:
    model = Model(architecture="tiny", dtype="float16", weights="random", source="")
    return Job(model=model, num_frames=6, height=64, width=64, num_inference_steps=4, decode_chunk_size=2)


@pytest.fixture
def full_job() -> Job:
    model = Model(architecture="svd_xt", dtype="float16", weights="random", source="")
    return Job(model=model, num_frames=25, height=576, width=1024, num_inference_steps=25)
