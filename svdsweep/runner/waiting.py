"""What a driver says when only jobs are left that other drivers hold: whom it waits for, and how to take over."""

import time
from collections import defaultdict
from collections.abc import Iterable

from svdsweep.runner.contract import Watch
from svdsweep.runner.leases import Holder, Leases

FIRST_S, LONGEST_S = 5.0, 600.0
"""Seconds until the first word and, each time twice as many, at most between two."""
AT_MOST = 3
"""Drivers that are named in one go: those that have been silent for longest."""


class Waiting:
    """A driver's patience: it speaks soon, then ever more seldom."""

    def __init__(self, leases: Leases, watch: Watch) -> None:
        self._leases, self._watch = leases, watch
        self._since: time.struct_time | None = None
        self._pause_s = self._speaks_at = 0.0

    def over(self) -> None:
        """There is something to do again, or nothing to wait for."""
        self._since = None

    def goes_on(self, keys: Iterable[str]) -> None:
        """These jobs are with others and nothing else is left: say so if it is time to."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._pause_s, self._speaks_at = time.localtime(), FIRST_S, now + FIRST_S
        if now < self._speaks_at:
            return
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        self._speaks_at = now + self._pause_s
        leases_by_driver: dict[str, list[Holder]] = defaultdict(list)
        for key in keys:
            if holder := self._leases.holder(key):
                leases_by_driver[str(holder)].append(holder)
        since = time.strftime("%H:%M:%S", self._since)
        drivers = sorted(leases_by_driver.items(), key=lambda driver: -driver[1][0].silent_s)
        for name, held in drivers[:AT_MOST]:
            how = held[0].how_to_take_over(self._leases.stale_s)
            self._watch.told(f"Waiting since {since} for {len(held)} jobs of {name}: {how}.")
        if others := drivers[AT_MOST:]:
            jobs = sum(len(held) for _, held in others)
            self._watch.told(f"… and for {jobs} jobs of {len(others)} other drivers.")
