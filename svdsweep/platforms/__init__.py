"""The operating system: `system` is how processes, signals and files behave, `host` what the kernel tells.

Every module of this folder can be imported everywhere; which of them are asked is decided once, by `sys.platform`."""

import sys

from svdsweep.platforms import linux, macos, posix, windows
from svdsweep.platforms.contract import Host, System

HOSTS: dict[str, Host] = {"linux": linux, "darwin": macos, "win32": windows}

system: System = windows if sys.platform == "win32" else posix
host: Host = HOSTS.get(sys.platform, linux)
