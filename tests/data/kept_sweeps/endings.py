"""Functions for `memory.extra` that end a job in each way but a good one."""

import os
import signal
import time
from typing import Any

import torch


def out_of_memory(_pipe: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


def error(_pipe: Any) -> None:
    raise ValueError("this pipeline is not the one that was asked for")


def death(_pipe: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def silence(_pipe: Any) -> None:
    time.sleep(3600)
