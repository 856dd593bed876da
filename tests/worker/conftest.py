"""The workers of these tests read each pipeline once."""

import pipelines
import pytest

from svdsweep.worker import worker


@pytest.fixture(autouse=True)
def copied_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "load_pipeline", pipelines.copied)
