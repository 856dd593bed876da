"""What a sweep of many full rows takes to become a table, a page, and the files that its end leaves.

    python tests/performance/reading.py [--rows 1000 10000 100000]

The rows of runs/published/tiny with new seeds, keys and times of day, their figures off by about 1 %, in one file. Each
step of each size has a process of its own, whose start and imports count, as they do for who waits."""

import json
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import published

from svdsweep.config import job_from

TINY = published.FOLDER.parent / "tiny"


def make(folder: Path, count: int) -> int:
    """A sweep of `count` rows in `folder`; returns their size in bytes."""
    chance = random.Random(0)
    rows = [json.loads(line) for path in TINY.glob("rows/*.jsonl") for line in path.read_bytes().splitlines()]
    seeds = 1 + max(row["job"]["seed"] for row in rows)
    plain_memory = next(row["job"]["memory"] for row in rows if row["job"]["memory"]["name"] == "baseline")
    keys, size = [], 0
    (folder / "rows").mkdir(parents=True)
    with (folder / "rows" / "made-1.jsonl").open("wb") as file:
        for number in range(count):
            row = rows[number % len(rows)]
            job = row["job"] | {"seed": row["job"]["seed"] + seeds * (number // len(rows))}
            job["baseline"] = job_from(job | {"memory": plain_memory}).key
            key = job_from(job).key
            began = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=2.5 * number)).isoformat()
            values = {k: _off(v, chance) if isinstance(v, float) else v for k, v in row["values"].items()}
            line = row | {
                "key": key,
                "job": job,
                "values": values
                | {"started_at": began, "video": f"videos/{key}.mp4", "contact_sheet": f"sheets/{key}.png"},
                "series": row["series"] | {"total_s": [_off(v, chance) for v in row["series"]["total_s"]]},
                "provenance": row["provenance"] | {"started_at": began},
            }
            keys.append(key)
            size += file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
    manifest = json.loads((TINY / "sweep.json").read_text(encoding="utf-8")) | {"keys": keys}
    (folder / "sweep.json").write_text(json.dumps(manifest), encoding="utf-8")
    return size


def _off(value: float, chance: random.Random) -> float:
    return value * (1 + 0.01 * chance.gauss(0, 1))


def table(folder: Path) -> None:
    """The table that reports and notebooks read."""
    from svdsweep.analysis.sweep import open_sweep

    open_sweep(folder)


def page(folder: Path) -> None:
    """All of `svdsweep report`, the table among it."""
    from svdsweep import report

    report.write(folder)


def files(folder: Path) -> None:
    """results.csv, .parquet and .md, and series.parquet."""
    from svdsweep.analysis.files import write_results
    from svdsweep.store.rows import Store

    write_results(folder, Store(folder).rows().values())


STEPS = {step.__name__: step for step in (table, page, files)}


def main() -> None:
    """Print and publish the table; `--one STEP FOLDER` is a child's."""
    parser = published.options(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--one", nargs=2, help="do one step here and print its memory as JSON")
    asked = parser.parse_args()
    if asked.one:
        step, folder = asked.one
        STEPS[step](Path(folder))
        print(json.dumps(published.peak_gib()))
        return
    lines = []
    for count in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            line: dict[str, object] = {"rows": count, "MB": make(Path(folder) / "made", count) / 1e6}
            for step in STEPS:
                began = time.perf_counter()
                peak_gib = published.in_a_process(__file__, "--one", step, str(Path(folder) / "made"))
                line |= {f"{step}, s": time.perf_counter() - began, f"{step}, GiB": peak_gib}
            lines.append(line)
    published.publish(
        asked.out,
        "reading",
        "Reading a sweep of many rows",
        "Rows of the example sweep with new seeds, their raw repeats, steps and per-frame values included, in one file "
        "that was just written. `table`: what reports and notebooks read; `page`: all of `svdsweep report`; `files`: "
        "results.csv, .parquet, .md and series.parquet, which the end of a sweep leaves. Seconds are those of a "
        "process, its start and imports included; GiB its peak.",
        lines,
    )


if __name__ == "__main__":
    main()
