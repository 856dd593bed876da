"""What asks a sweep to stop while it runs, as Ctrl-C does: asked once, it drains; asked twice, it ends."""

import signal
import threading
from types import FrameType

from svdsweep.platforms import system


class Signals:
    """While entered, those signals only count: an exception in the middle of a write would lose a row.

    Outside the main thread, and under `signals=False` (a batch system has its own handlers), nothing is changed."""

    def __init__(self, signals: bool = True) -> None:
        self.asked = 0
        heeded = signals and threading.current_thread() is threading.main_thread()
        self._numbers = system.stop_signals() if heeded else ()

    def __enter__(self) -> "Signals":
        self._before = {number: signal.signal(number, self._count) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1
