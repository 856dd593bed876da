"""Ray's head, as its driver minds it: Ray's calls wait for a dead one, and after a minute end the process."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from svdsweep.errors import Stopped

LOOK_S = 2.0
"""How often the head is asked whether it is there."""

DEAD_S = 10.0
"""A head that has not answered for so long is dead. Ray itself gives it a minute."""


class Head:
    """The head of a cluster at `HOST:PORT`, and Ray's calls with an eye on it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.dead = False
        self._looked = self._heard = time.monotonic()

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What one of Ray's functions answers. Raises what it raises, and Stopped when the head is dead."""
        answer: dict[str, Any] = {}
        done = threading.Event()

        def ask() -> None:
            try:
                answer["value"] = function(*arguments, **options)
            except BaseException as e:
                answer["error"] = e
            done.set()

        self._look()
        threading.Thread(target=ask, daemon=True).start()
        while not done.wait(LOOK_S):
            self._look()
        if "error" in answer:
            raise answer["error"]
        return answer["value"]

    def answers(self) -> bool:
        """Whether something listens at the head's address."""
        host, _, port = self.address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), LOOK_S):
            return True
        return False

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        if self.answers():
            self._heard = now
        elif now - self._heard > DEAD_S:
            self.dead = True
            silent = f"Ray's head at {self.address} has not answered for {now - self._heard:.0f} s"
            raise Stopped(
                f"{silent}, so the sweep has stopped. Rows that came until then are stored; start the cluster again, "
                "and the same command goes on."
            )
