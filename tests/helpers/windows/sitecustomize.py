"""Gives svdsweep, in a Python on Linux, what Python on Windows has and nothing else that one could miss there.

In PYTHONPATH, this folder hides signals and functions from svdsweep's own code (libraries choose theirs by the real
system), takes modules away from all, lets `svdsweep.platforms` choose Windows, and has a process started as there. It
is no Windows: pipes are Linux' own."""

import importlib
import multiprocessing.connection
import os
import signal
import socket  # noqa: F401 (before there seems to be a Windows, as it asks its platform)
import subprocess
import sys
import types
from pathlib import Path

import psutil  # noqa: F401

import svdsweep  # noqa: F401

OURS = ("svdsweep", "fakes")
SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "SIGQUIT", "SIGCHLD", "SIGSTOP", "SIGCONT")
FUNCTIONS = (
    "killpg",
    "fork",
    "forkpty",
    "setsid",
    "setpgid",
    "getpgid",
    "getsid",
    "getuid",
    "geteuid",
    "getgid",
)
FUNCTIONS += ("uname", "sysconf", "statvfs", "sched_getaffinity", "sched_setaffinity", "getloadavg", "mkfifo")
FUNCTIONS += ("kill",)  # it is there, and `os.kill(pid, 0)` kills
MODULES = ("fcntl", "resource", "termios", "pwd", "grp")


def is_ours(frame: types.FrameType) -> bool:
    """Whether code of svdsweep runs there."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in OURS


def hide(module: types.ModuleType, names: tuple[str, ...]) -> None:
    """Take names from a module; others than svdsweep still find them."""
    kept = {name: module.__dict__.pop(name) for name in names}

    def found(name: str) -> object:
        if name in kept and not is_ours(sys._getframe(1)):
            return kept[name]
        raise AttributeError(f"{module.__name__} has no {name} on Windows")

    module.__getattr__ = found


class Process(subprocess.Popen):
    """A process that is started as on Windows: handles in place of descriptors, flags in place of sessions."""

    def __init__(self, *arguments, startupinfo=None, creationflags=0, pass_fds=(), **options) -> None:
        foreign = {"start_new_session", "preexec_fn", "process_group", "umask"} & set(options)
        assert not is_ours(sys._getframe(1)) or not (pass_fds or foreign), "not on Windows"
        handles = (startupinfo.lpAttributeList if startupinfo else {}).get("handle_list", [])
        assert all(os.get_inheritable(handle) for handle in handles), "handles must be inheritable"
        if creationflags & subprocess.CREATE_NEW_PROCESS_GROUP:
            options["start_new_session"] = True
        super().__init__(*arguments, pass_fds=[*pass_fds, *handles], **options)

    def _handle_exitstatus(self, *arguments) -> None:
        super()._handle_exitstatus(*arguments)
        if self.returncode < 0:
            self.returncode = {-signal.SIGSEGV: 0xC0000005, -signal.SIGABRT: 3}.get(self.returncode, 1)


def bring() -> None:
    """Bring what only Windows has."""
    signal.SIGBREAK = signal.SIGQUIT
    subprocess.Popen = Process
    subprocess.CREATE_NEW_PROCESS_GROUP, subprocess.CREATE_NO_WINDOW = 0x200, 0x8000000
    subprocess.STARTUPINFO = types.SimpleNamespace
    os.set_handle_inheritable = os.set_inheritable
    multiprocessing.connection.PipeConnection = multiprocessing.connection.Connection
    os.replace, os.unlink = refusing(os.replace), refusing(os.unlink)


def refusing(act):
    """A rename or removal that is refused while the file that would go is open in a process here."""

    def asked(*paths, **options):
        gone = paths[-1]
        if not options and os.path.exists(gone) and is_open(os.path.realpath(gone)):
            raise PermissionError(
                13, "The process cannot access the file because it is being used", str(gone)
            )
        return act(*paths, **options)

    return asked


def is_open(path: str) -> bool:
    """Whether a process of this user has a file open."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) == path:
                return True
        except OSError:  # it has gone meanwhile, or is not ours
            continue
    return False


bring()
hide(signal, SIGNALS)
hide(os, FUNCTIONS)
sys.modules |= dict.fromkeys(MODULES)
sys._base_executable = sys.executable
sys.platform, linux = "win32", sys.platform
importlib.import_module("svdsweep.platforms")  # which chooses now
sys.platform = linux
