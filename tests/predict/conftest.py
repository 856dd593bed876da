"""A cache of predictions of their own for all tests here, and the jobs that they predict."""

from pathlib import Path

import pytest

from svdsweep.config import Job, Model


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_job() -> Job:
    model = Model(architecture="tiny", dtype="float16", weights="random", source="")
    return Job(model=model, num_frames=6, height=64, width=64, num_inference_steps=4, decode_chunk_size=2)


@pytest.fixture
def full_job() -> Job:
    model = Model(architecture="svd_xt", dtype="float16", weights="random", source="")
    return Job(model=model, num_frames=25, height=576, width=1024, num_inference_steps=25)
