"""A pipeline is read from disk once and copied for each worker: half a second less a test, and the same objects."""

import copy
from typing import Any

import pytest

from svdsweep.worker import worker

read = worker.load_pipeline
READ: dict[Any, Any] = {}


@pytest.fixture(autouse=True)
def copied_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: Any) -> Any:
        if arguments not in READ:
            READ[arguments] = read(*arguments)
        return copy.deepcopy(READ[arguments])

    monkeypatch.setattr(worker, "load_pipeline", load)
