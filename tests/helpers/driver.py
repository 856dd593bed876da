"""A driver in a process of its own, for the tests that interrupt or kill it: its one argument is the sweep as JSON."""

import json
import sys
from pathlib import Path

import fakes
import psutil

from svdsweep.config import Runner, Slurm
from svdsweep.runner import run_jobs
from svdsweep.runner.progress import Lines
from svdsweep.store.rows import Store


def main() -> int:
    plan = json.loads(sys.argv[1])
    born = psutil.Process.create_time
    psutil.Process.create_time = lambda process: born(process) + plan["clock_step_s"]
    jobs = [fakes.job(seed, does) for seed, does in plan["jobs"]]
    if "slurm" in plan["options"]:
        plan["options"]["slurm"] = Slurm(**plan["options"]["slurm"])
    options = Runner(**{"devices": "cpu", "workers_per_device": 2, **plan["options"]})
    try:
        for row in run_jobs(jobs, fakes.load, options, Store(Path(plan["folder"])), Lines(sys.stderr)):
            print(row.job.seed, row.status, flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
