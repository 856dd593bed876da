"""What a worker is: it is loaded on a slot, answers jobs with rows, and tells the phase that it is in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from svdsweep.config import Job
from svdsweep.store.rows import Row

CPU_INSTEAD = "computed on the CPU, though torch sees a GPU that was not found on this machine"
"""How a row's note begins where nobody has asked for the CPU."""
Report = Callable[[str, float | None], None]
"""`report(phase, vram_peak_gib)`: a worker says where it is, so that a row can tell even if the process dies there."""


Judge = Callable[[], Row]
"""What is left of a job whose device is free again: it judges the frames, on the CPU alone, and answers the row."""


class Work(Protocol):
    """A loaded worker: answers jobs, keeping the pipeline of the last settings warm between them."""

    def __call__(self, job: Job, attempt: int, report: Report) -> Row | Judge:
        """Run a job: its row, or what makes it while the device does the next job.

        Exceptions become rows inside (`oom`, `failed`, `rejected`); one that escapes is `failed` too."""
        ...


@dataclass(frozen=True)
class Slot:
    """A device that a worker sits on: its name, the sweep's folder (for videos and logs) and its share of the cores."""

    device: str
    """As `svdsweep.probes.devices.discover` names it: `cpu`, a UUID or MIG name, `rocm:0`, `xpu:1`, `mps`. The worker
    sees it as its only GPU."""
    folder: Path
    threads: int = 1
    for_want_of_a_gpu: bool = False
    """Whether it is the CPU's only because no GPU was found: if torch sees one all the same, the worker tells."""
    judge_beside: bool = False
    """Whether frames may be judged while the device does the next job."""
    preview: bool = False
    """Whether a running job has a small picture in the sweep's folder."""


Load = Callable[[Slot], Work]
"""Made in the worker's own process, under `environment_of` its device, before torch is imported."""
