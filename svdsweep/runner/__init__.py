"""Where jobs run: one contract, one file an engine."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.config import Job, Runner
from svdsweep.runner.contract import Batch, Engine, More, Watch, no_more
from svdsweep.store.rows import Row, Store
from svdsweep.worker.contract import Load

if TYPE_CHECKING:  # the type checker holds the engines against their contract
    from svdsweep.runner import local, ray, slurm

    ENGINES: tuple[Engine, ...] = (local, ray, slurm)


def run_jobs(
    jobs: Sequence[Job], load: Load, options: Runner, store: Store, watch: Watch, more: More = no_more
) -> Iterator[Row]:
    """Run jobs that are still to be done on the engine `options.name`, each once; a row is stored before it is yielded.

    `store` is the sweep's; jobs that its rows already settle are left out. The engine chooses the order: baselines
    first, then the longest groups of equal settings. Two drivers may share a folder; neither yields the other's rows.
    When nothing is left and nothing under way, `more` is asked for the next stage, which the same warm workers do.
    Raises KeyboardInterrupt after a drain, UserError when nothing can run or nothing can be written."""
    engine: Engine = import_module(f"svdsweep.runner.{options.name}")
    return engine.run(jobs, load, options, store, watch, more)


def batch_of(folder: Path) -> Batch | None:
    """What a cluster's queue holds for a sweep; None for one that was never submitted to a cluster."""
    from svdsweep.runner import slurm

    return slurm.batch(folder)
