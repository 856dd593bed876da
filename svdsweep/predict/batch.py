"""Predictions for many jobs: from the cache, or simulated, jobs that differ only in their decode together."""

import gc
import sys
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context

from svdsweep.config import Job
from svdsweep.memory.conflicts import why_not
from svdsweep.platforms import host
from svdsweep.predict import cache
from svdsweep.predict.prediction import Prediction

GIB_A_PROCESS = 1.5
"""Host memory that a simulating process may take; 1.0 was measured."""
DecodeGroup = list[Job]
"""Jobs that differ in nothing but how they are decoded."""


@dataclass(frozen=True)
class Unpredicted:
    """Why there is no prediction: an impossible job, or a package that is missing here."""

    reason: str


Outcome = Prediction | Unpredicted


def predictions(jobs: Collection[Job], compute: bool) -> dict[str, Prediction | None]:
    """The prediction of each job by key: those in the cache, and with `compute` all that can be made (torch is
    imported, and each strategy takes seconds). None where there is none."""
    by_key = outcomes(jobs, compute)
    return {key: outcome if isinstance(outcome, Prediction) else None for key, outcome in by_key.items()}


def outcomes(
    jobs: Collection[Job],
    compute: bool = True,
    processes: int = 1,
    pool: Executor | None = None,
    kind: str = "cuda",
) -> dict[str, Outcome]:
    """As `predictions`, with the reason in place of None, also for jobs that are impossible on a device of the `kind`;
    whatever it is, tensors are counted as NVIDIA's kernels make them. `processes` simulate at a time, or those of a
    `pool` that lasts longer; more than one needs a main module that can be imported again."""
    by_key: dict[str, Outcome] = {}
    groups: dict[str, DecodeGroup] = {}
    for job in jobs:
        if reason := why_not(job, kind) or why_not(job, "cuda"):
            by_key[job.key] = Unpredicted(reason)
        elif prediction := cache.known(job):
            by_key[job.key] = prediction
        elif compute:
            groups.setdefault(cache.front_key(job), []).append(job)
        else:
            by_key[job.key] = Unpredicted("not predicted yet; `svdsweep predict` does")
    for group, simulated in _simulated(list(groups.values()), processes, pool):
        for job in group:
            outcome = simulated if isinstance(simulated, Unpredicted) else simulated[cache.chunk_of(job)]
            by_key[job.key] = outcome
            if isinstance(outcome, Prediction):
                cache.keep(job, outcome)
    return {job.key: by_key[job.key] for job in jobs}


def processes_here() -> int:
    """As many as the cores and the free memory of this machine bear."""
    import psutil

    return max(1, min(host.cores(), int(psutil.virtual_memory().available / 2**30 / GIB_A_PROCESS)))


def simulators(processes: int) -> AbstractContextManager[Executor | None]:
    """Processes for `outcomes` for a `with` block, each started when it is first wanted; None if one is to simulate."""
    return ProcessPoolExecutor(processes, get_context("spawn")) if processes > 1 else nullcontext()


def _simulated(
    groups: Sequence[DecodeGroup], processes: int, pool: Executor | None
) -> Iterator[tuple[DecodeGroup, dict[int, Prediction] | Unpredicted]]:
    """Each group with what `simulate_group` says of it, in the order in which they are done."""
    from tqdm import tqdm

    own = simulators(processes if len(groups) > 1 else 1)
    silent = not groups or not sys.stderr.isatty()
    with nullcontext(pool) if pool else own as executor:
        if executor is None:
            done = ((group, simulate_group(group)) for group in groups)
        else:
            futures = {executor.submit(simulate_group, group): group for group in groups}
            done = ((futures[future], future.result()) for future in as_completed(futures))
        yield from tqdm(done, "predicting", len(groups), leave=False, disable=silent)


def simulate_group(jobs: DecodeGroup) -> dict[int, Prediction] | Unpredicted:
    """Simulate jobs that differ only in their decode: predictions by chunk. Uses one thread of torch."""
    gc.disable()  # a sixth of the time of these imports
    try:
        import torch

        from svdsweep.memory.contract import NoEffect
        from svdsweep.predict.simulate import simulate
    finally:
        gc.enable()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    libraries_apart = gc.get_freeze_count() > 0
    if not libraries_apart:
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
        if not libraries_apart:
            gc.unfreeze()
        torch.set_num_threads(threads)
