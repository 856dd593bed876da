"""The operating system: `system` is how processes, signals and files behave, `host` what the kernel tells.

Every module of this folder can be imported everywhere; which of them are asked is decided once, by `sys.platform`."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from svdsweep.platforms.contract import Host, System

if TYPE_CHECKING:
    from svdsweep.platforms import linux, macos, posix, windows

    SYSTEMS: tuple[System, ...] = (posix, windows)
    HOSTS: tuple[Host, ...] = (linux, macos, windows)

NAMES = {"win32": ("windows", "windows"), "darwin": ("posix", "macos")}

system: System
host: Host
system, host = (
    import_module(f"svdsweep.platforms.{name}") for name in NAMES.get(sys.platform, ("posix", "linux"))
)
