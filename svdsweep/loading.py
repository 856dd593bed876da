"""The worker of every engine, named without importing it: torch begins in the worker's own process."""

from svdsweep.runner.contract import Place, Work


def load_worker(place: Place) -> Work:
    """`svdsweep.worker.load`, imported where it runs."""
    from svdsweep.worker import load

    return load(place)
