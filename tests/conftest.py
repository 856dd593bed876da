"""What every test needs: the tree that it lies in, one torch thread a process, no network, no CUDA."""

import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

gc.disable()  # until all is collected: looking for garbage among what is imported takes as long as half the imports

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # two threads a process on two busy cores are ten times slower than one
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# or each child compiles the package anew, which is a quarter of its time
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# of child processes, wherever they start and whatever copy is installed; pyproject.toml's `pythonpath` is for this one
TREE = str(Path(__file__).parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join([TREE, *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ["PYTHONIOENCODING"] = (
    "utf-8"  # in which the tests read what a child prints, whatever the locale is
)


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty, for one test: predictions and measured rates are kept in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots of reports are made, but not drawn, which takes most of a report's time."""
    from svdsweep.report import svg

    monkeypatch.setattr(svg, "png", lambda plot, path: None)
    monkeypatch.setattr(svg, "inline", lambda plot: "<svg></svg>")


def pytest_collectstart() -> None:
    """Leave what was imported out of every later search for garbage; a worker looks for some after each job."""
    gc.freeze()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)  # often enough for a pipeline a test; 700 takes a tenth of all time
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """Say last of all, in one line, which packages of the system the skipped tests lack."""
    yield
    reasons = [str(report.longrepr) for report in terminalreporter.getreports("skipped")]
    asked = [match[1] for reason in reasons if (match := re.search(r"apt-get install ([\w -]+)", reason))]
    if asked:
        packages = " ".join(sorted({*" ".join(asked).split()}))
        want = f"{len(asked)} skipped for want of packages of the system: apt-get install {packages}"
        terminalreporter.write_line(want, yellow=True)
