"""What every test needs: one torch thread a process, no network, no CUDA."""

import os
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # two threads a process on two busy cores are ten times slower than one
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty, for one test: predictions and measured rates are kept in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"
