"""Predictions for many jobs: from the cache, or simulated, jobs that differ only in their decode together."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from svdsweep.config import Job
from svdsweep.garbage import no_collection
from svdsweep.memory.conflicts import why_not
from svdsweep.predict import cache
from svdsweep.predict.prediction import Prediction

GIB_A_PROCESS = 1.5
"""Host memory that a simulating process may take; 1.0 was measured."""


@dataclass(frozen=True)
class Unpredicted:
    """Why there is no prediction: an impossible job, or a package that is missing here."""

    reason: str


Outcome = Prediction | Unpredicted


def predictions(
    jobs: Iterable[Job], compute: bool, where: Path | None = None, processes: int = 1
) -> dict[str, Prediction | None]:
    """The prediction of each job by key: those in the cache, and with `compute` all that can be made (torch is
    imported, and each strategy takes seconds). None where there is none."""
    found = outcomes(jobs, compute, where, processes)
    return {key: outcome if isinstance(outcome, Prediction) else None for key, outcome in found.items()}


def outcomes(
    jobs: Iterable[Job],
    compute: bool = True,
    where: Path | None = None,
    processes: int = 1,
    pool: Executor | None = None,
) -> dict[str, Outcome]:
    """As `summaries`, with the reason in place of None. `processes` simulate at a time, or those of a `pool` that lasts
    longer; more than one needs a main module that can be imported again."""
    everything = list(jobs)
    found: dict[str, Outcome] = {}
    missing: dict[str, list[Job]] = {}
    for job in everything:
        if reason := why_not(job, "cuda"):
            found[job.key] = Unpredicted(reason)
        elif summary := cache.known(job, where):
            found[job.key] = summary
        elif compute:
            missing.setdefault(cache.front_key(job), []).append(job)
        else:
            found[job.key] = Unpredicted("not predicted yet; `svdsweep predict` does")
    for jobs_alike, outcome in _simulated(list(missing.values()), processes, pool):
        for job in jobs_alike:
            found[job.key] = made = outcome[cache.chunk_of(job)] if isinstance(outcome, Mapping) else outcome
            if isinstance(made, Prediction):
                cache.keep(job, made, where)
    return {job.key: found[job.key] for job in everything}


def processes_here() -> int:
    """As many as the cores and the free memory of this machine bear."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(psutil.virtual_memory().available / 2**30 / GIB_A_PROCESS)))


@contextlib.contextmanager
def simulators(processes: int) -> Iterator[Executor | None]:
    """Processes for `outcomes` for a `with` block, each started when it is first wanted; None if one is to simulate."""
    if processes == 1:
        yield None
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            yield pool


Alike = list[Job]


def _simulated(
    groups: Sequence[Alike], processes: int, pool: Executor | None
) -> Iterator[tuple[Alike, dict[int, Prediction] | Unpredicted]]:
    from tqdm import tqdm

    bar = tqdm(
        total=len(groups), desc="predicting", disable=not groups or not sys.stderr.isatty(), leave=False
    )
    with bar:
        own = simulators(processes if len(groups) > 1 else 1)
        with contextlib.nullcontext(pool) if pool else own as several:
            if several is None:
                for group in groups:
                    yield group, simulate_alike(group)
                    bar.update()
            else:
                futures = {several.submit(simulate_alike, group): group for group in groups}
                for future in as_completed(futures):
                    yield futures[future], future.result()
                    bar.update()


def simulate_alike(jobs: Alike) -> dict[int, Prediction] | Unpredicted:
    """Simulate jobs that differ in nothing but how they are decoded: by chunk. One thread of torch."""
    with no_collection():
        import torch

        from svdsweep.memory.contract import NoEffect
        from svdsweep.predict.simulate import simulate

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()  # looking for garbage among all that was imported takes a quarter of a simulation
    try:
        return simulate(jobs[0], sorted({cache.chunk_of(job) for job in jobs}))
    except (ImportError, NoEffect) as e:
        return Unpredicted(str(e))
    except Exception as e:  # diffusers and torch refuse what they cannot do with errors of many kinds
        if jobs[0].memory.extra:
            return Unpredicted(f"memory.extra cannot run over fake tensors: {type(e).__name__}: {e}")
        return Unpredicted(f"cannot be simulated: {type(e).__name__}: {e}".splitlines()[0])
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
