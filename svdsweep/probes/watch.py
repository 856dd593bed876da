"""What happens to a GPU during one run: the driver's counters before and after it, its clocks by a thread beside it."""

import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from svdsweep.probes import amd, nvml
from svdsweep.probes.environment import opened
from svdsweep.probes.nvml import State
from svdsweep.probes.throttling import REASONS, Seen, words_of

T = TypeVar("T")
EVERY_S = 0.2
"""Between two looks at the clocks. A look is three questions to the driver, asked without the interpreter's lock, and
25 µs of Python: 0.01 % of the time of the thread that computes."""


class Watch:
    """The looks at a GPU over one run."""

    def __init__(self) -> None:
        self.looks: list[State] = []
        self.slowed_s: dict[str, float] = {}
        self.known = False

    def seen(self, total_s: float) -> Seen | None:
        """What it comes to for a run that was timed at `total_s`; None where no driver was asked.

        Where the driver does not count slowed-down time, it is the share of the looks that met a reason."""
        if not self.known:
            return None
        told = _known(look.throttle for look in self.looks)
        held = _known(look.clocks_held for look in self.looks)
        return Seen(
            sm_clock_mean_mhz=_mean(_known(look.sm_clock_mhz for look in self.looks)),
            memory_clock_mean_mhz=_mean(_known(look.memory_clock_mhz for look in self.looks)),
            throttled_s=self._throttled_s(told, total_s),
            by_reason_s=self.slowed_s,
            throttle=self._throttle(told),
            clocks_held=any(held) if held else None,
        )

    def _throttled_s(self, told: Sequence[str], total_s: float) -> float | None:
        if self.slowed_s:
            return min(total_s, sum(self.slowed_s.values()))
        return total_s * sum(map(bool, told)) / len(told) if told else None

    def _throttle(self, told: Sequence[str]) -> str | None:
        met = words_of(*told)
        if not self.slowed_s:
            return met
        counted = [REASONS[column] for column, seconds in self.slowed_s.items() if seconds > 0]
        hidden = [word for word in counted if word not in (met or "")]  # it came and went between two looks
        return words_of(met, ", ".join(hidden))


@contextmanager
def watched(device: torch.device) -> Iterator[Watch]:
    """Watch the device over a `with` block; of one that no driver's library knows nothing is seen, at no cost."""
    watch = Watch()
    with opened(device) as card:
        if card is None:
            yield watch
            return
        before, began_s = card.counters(), time.perf_counter()
        with _looking(card, watch):
            yield watch
        after, took_s = card.counters(), time.perf_counter() - began_s
        watch.slowed_s, watch.known = card.slowed_s(before, after, took_s), True


@contextmanager
def _looking(card: nvml.Card | amd.Card, watch: Watch) -> Iterator[None]:
    over = threading.Event()

    def look() -> None:
        while not over.wait(EVERY_S):
            watch.looks.append(card.moment())

    thread = threading.Thread(target=look, name="watch of the GPU", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if not watch.looks:  # a run of a moment: the clock is still that of its end
        watch.looks.append(card.moment())


def _known(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[int]) -> float | None:
    return statistics.fmean(values) if values else None
