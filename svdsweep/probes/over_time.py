"""What a GPU's allocator holds over an untimed run: the most since the last module ended, as each of them ends.

It is asked in a warm-up only, and of no compiled network, whose hooks would have it compiled anew."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.module import register_module_forward_hook

from svdsweep.backends import backend_of
from svdsweep.store.columns import OVER_TIME

GIB = 2**30
POINTS = 80
"""Values kept of a stretch."""


class OverTime:
    """The levels of one run, stage by stage; of the denoising loop's turns those in `turns` alone."""

    def __init__(self, device: torch.device, unet: torch.nn.Module, turns: Collection[int]) -> None:
        self.device, self.backend, self.unet, self.turns = device, backend_of(device), unet, turns
        self.levels: dict[str, list[list[float]]] = {}
        self.peak_gib: float | None = None
        """The most of the whole run so far, for its reset counters no longer tell it."""
        self.stage, self.turn = "", 0

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._look()
        self.stage, self.turn = stage, 0
        self._begin()

    def series(self) -> dict[str, list[list[float]]]:
        """Series for the row (GiB), of at most `POINTS` values a stretch, each the highest of its share."""
        told = {
            stage: [_thinned(levels) for levels in stretches if levels]
            for stage, stretches in self.levels.items()
        }
        return {OVER_TIME[stage]: stretches for stage, stretches in told.items() if stretches}

    def _begin(self) -> None:
        if self._is_told():
            self.levels.setdefault(self.stage, []).append([])

    def _is_told(self) -> bool:
        return self.stage in OVER_TIME and (self.stage != "denoise" or self.turn in self.turns)

    def _after(self, module: torch.nn.Module, *_: object) -> None:
        self._look()
        if module is self.unet:  # what the scheduler computes between two calls weighs next to nothing
            self.turn += 1
            self._begin()

    def _look(self) -> None:
        if not self._is_told() or (nbytes := self.backend.highest(self.device)) is None:
            return
        self.levels[self.stage][-1].append(nbytes / GIB)
        self.peak_gib = max(self.peak_gib or 0.0, nbytes / GIB)


@contextmanager
def looking(over_time: OverTime) -> Iterator[OverTime]:
    """Look as each module ends, for a `with` block."""
    handle = register_module_forward_hook(over_time._after)
    try:
        yield over_time
        over_time.enter("")
    finally:
        handle.remove()


def _thinned(levels: list[float]) -> list[float]:
    n = min(POINTS, len(levels))
    return [max(levels[i * len(levels) // n : (i + 1) * len(levels) // n]) for i in range(n)]
