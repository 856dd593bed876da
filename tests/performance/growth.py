"""What the driver takes as a sweep grows: expansion, rows, tables, report.

    python tests/performance/growth.py [--jobs 10 100 1000 10000]

The workers do nothing, so that only the framework is measured: a process for each size expands the grid, runs it on two
workers, reads the rows back, and writes tables and report."""

import json
import sys
import tempfile
import time
from pathlib import Path

import published

TESTS = Path(__file__).parents[1]


def measured(count: int, folder: Path) -> dict[str, object]:
    """One row of the table, in this process."""
    sys.path[:0] = [str(TESTS / "helpers")]
    import fakes
    from running import cpu

    from svdsweep.grid.expand import expand
    from svdsweep.runner import run_jobs
    from svdsweep.runner.contract import Watch
    from svdsweep.store.rows import Store

    def seconds() -> float:
        nonlocal began
        began, before = time.perf_counter(), began
        return began - before

    began = time.perf_counter()
    jobs = expand([f"seed=range({count})"]).jobs
    expand_s = seconds()
    before = time.process_time()
    rows = sum(1 for _ in run_jobs(jobs, fakes.load_noop, cpu(2), Store(folder), Watch()))
    assert rows == count
    run_cpu_s, run_s, run_gib = time.process_time() - before, seconds(), published.peak_gib()
    found = list(Store(folder).rows().values())
    read_s = seconds()
    from svdsweep.analysis.files import write_results

    seconds()
    write_results(folder, found)
    table_s = seconds()
    from svdsweep import report

    report.write(folder)
    return {
        "jobs": count,
        "expand, s": expand_s,
        "run, s": run_s,
        "run, ms a job": 1000 * run_s / count,
        "driver, CPU s": run_cpu_s,
        "driver, GiB": run_gib,
        "read rows, s": read_s,
        "tables, s": table_s,
        "report, s": seconds(),
        "peak with tables and report, GiB": published.peak_gib(),
    }


def main() -> None:
    """Print and publish the table; `--one N FOLDER` is a child's."""
    parser = published.options(__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--one", nargs=2, help="measure one size here and print it as JSON")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(int(asked.one[0]), Path(asked.one[1]))))
        return
    table = []
    for count in asked.jobs:
        with tempfile.TemporaryDirectory() as folder:
            paths = str(TESTS / "helpers")
            table.append(published.in_a_process(__file__, "--one", str(count), folder, PYTHONPATH=paths))
    published.publish(
        asked.out,
        "growth",
        "The framework alone, as a sweep grows",
        "Jobs whose workers answer at once, on two workers; every row is on the disk (fsync) before its worker "
        "gets the next job. The start of the two processes is part of the run.",
        table,
    )


if __name__ == "__main__":
    main()
