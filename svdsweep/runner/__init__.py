"""Where jobs run: one contract, one file an engine."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from svdsweep import config
from svdsweep.config import Job
from svdsweep.runner.contract import Load, Watch
from svdsweep.runner.select import foreign, pending
from svdsweep.store import Row

__all__ = ["foreign", "pending", "run_jobs"]


def run_jobs(
    jobs: Sequence[Job], load: Load, options: config.Runner, folder: Path, watch: Watch
) -> Iterator[Row]:
    """Run jobs that are still to be done on the engine `options.name`, each once; a row is stored before it is yielded.

    `folder` is the sweep's; jobs that its rows already settle are left out. The engine chooses the order: baselines
    first, then the longest groups of equal settings. Two drivers may share a folder; neither yields the other's rows.
    Raises KeyboardInterrupt after a drain, UserError when nothing can run or nothing can be written."""
    engine = import_module(f"svdsweep.runner.{options.name}")
    rows: Iterator[Row] = engine.run(jobs, load, options, folder, watch)
    return rows
