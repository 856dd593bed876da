"""All that a command line can say: what Hydra composes."""

import dataclasses
from dataclasses import dataclass, field

from svdsweep.config.job import Job
from svdsweep.config.rules import knob
from svdsweep.config.runner import Runner


@dataclass(frozen=True)
class Config(Job):
    """All that a command line can say: a job, and where the sweep of such jobs lives and runs."""

    name: str | None = knob(
        None, "Name of the sweep; default: the preset's, or `sweep-` and a hash of the grid."
    )
    tags: list[str] = knob(
        [], "Words to find the sweep by, as in `[rtx4070,night]`; kept until others are given."
    )
    note: str = knob(
        "", "What the sweep is for; kept until another is given, shown on its page and by `svdsweep list`."
    )
    runs_dir: str = knob("runs", "Folder of all sweeps.")
    runner: Runner = field(default_factory=Runner)

    @property
    def job(self) -> Job:
        """The part that is computed."""
        return Job(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Job)})
