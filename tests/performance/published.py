"""A benchmark's table: printed, and written as Markdown with the conditions under which it was measured."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "runs" / "published" / "performance"


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--out FOLDER`, where the table is written (default: runs/published/performance)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=FOLDER)
    return parser


def conditions() -> str:
    """The machine, how busy it is, and the versions, in one line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {cores} cores, load {load} at the end, "
        f"Python {platform.python_version()}, {libraries}."
    )


def publish(folder: Path, name: str, title: str, note: str, table: Sequence[dict[str, object]]) -> None:
    """Print a table and write it to `<folder>/<name>.md`."""
    names = list(table[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_shown(row[name]) for name in names)} |" for row in table]
    text = f"# {title}\n\n{note}\n\n" + "\n".join(lines) + f"\n\nMeasured {conditions()}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def peak_gib() -> float:
    """Peak resident memory of this process: VmHWM, for getrusage's survives exec."""
    return int(Path("/proc/self/status").read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 2**20


def in_a_process(script: str, *arguments: str, **environment: str) -> Any:
    """What a script prints as JSON in its last line, run in a fresh process: its memory and first calls are its own."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout.splitlines()[-1])


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    for line in cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
