import dataclasses
from pathlib import Path

import pytest

from svdsweep.config import Job, Memory, Model
from svdsweep.predict.summary import Kernel, Stage, Summary
from svdsweep.probes.latency import STAGES


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


def under(job: Job, **knobs: object) -> Job:
    return dataclasses.replace(job, memory=Memory(**knobs))  # type: ignore[arg-type]


def made_up(peak_gib: float, stage: str = "denoise", flop: int = 10**12, weights_gib: float = 0.0) -> Summary:
    low = Stage(0.1, 0.1, "", "", [], [], 0.0, 0.0)
    top = Stage(peak_gib, weights_gib, "add", "unet", [], [Kernel("float16", flop, 10**9, 3)], 0.0, 0.0)
    return Summary({name: top if name == stage else low for name in STAGES})
