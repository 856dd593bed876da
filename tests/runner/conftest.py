"""The processes of a test carry its folder in their environment, so that orphans are found."""

import time

import pytest
from running import family


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sweep's folder; afterwards no process of it may live."""
    monkeypatch.setenv("SVDSWEEP_TEST_FOLDER", str(tmp_path))
    yield tmp_path
    end = time.monotonic() + 15  # a batch system's task ends a little after its last row
    while (left := family(tmp_path)) and time.monotonic() < end:
        time.sleep(0.1)
    for process in left:
        process.kill()
    assert not left, f"orphans: {left}"
