"""The worker of every engine, named without importing it: torch begins in the worker's own process."""

from svdsweep.worker.contract import Slot, Work


def load_worker(slot: Slot) -> Work:
    """`svdsweep.worker.worker.load`, imported where it runs."""
    from svdsweep.worker.worker import load

    return load(slot)
