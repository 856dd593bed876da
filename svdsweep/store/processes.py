"""Who a process is to others that share its folder, and which processes of this machine live: no clock is believed."""

import os
from collections.abc import Mapping

import psutil

from svdsweep.platforms import host

BORN_WITHIN_S = 60
"""What a step of the clock may move a process's time of birth by, where nothing better is known of it."""


def own() -> dict[str, object]:
    """What tells this process from all others, for a file: `lives` answers for it."""
    pid = os.getpid()
    born = psutil.Process().create_time()
    return {"machine": host.identity(), "pid": pid, "born": born, "begun": host.begun(pid)}


def lives(owner: Mapping[str, object]) -> bool | None:
    """Whether the process of this machine that an `own()` tells of lives; None where that cannot be told from here."""
    try:
        pid, born = int(str(owner["pid"])), float(str(owner["born"]))
    except (KeyError, ValueError):
        return False
    if not is_alive(pid):
        return False
    try:
        begun, now = (text.rpartition(" ") for text in (str(owner.get("begun") or ""), host.begun(pid)))
        if begun[2] and now[2]:
            return begun == now if begun[0] == now[0] else None
        return abs(psutil.Process(pid).create_time() - born) < BORN_WITHIN_S
    except (psutil.Error, OSError):
        return None


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that number; one that has ended and was not waited for is dead."""
    try:
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, OverflowError):  # a file may name any number
        return False
    except psutil.Error:  # another user's
        return True


def is_stopped(pid: int) -> bool:
    """Whether a process of this machine is stopped, as Ctrl-Z stops one: it lives and does nothing."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False
