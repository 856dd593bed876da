"""Turn what first_light.sh brought home into a folder that people can read.

    python tests/gpu/publish.py ARCHIVE.tar.gz [ARCHIVE.tar.gz …] [--into runs/published]

Makes runs/published/<gpu>/: the sweeps' rows with their pages, each measured peak beside its prediction (simulated
here, without a GPU, in seconds a strategy), the claims of the documentation, the kernels' tables, first_light.md and a
README with the conditions. Archives of several machines of one kind of GPU may be given together."""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import answers

from svdsweep.store.rows import Row

ROOT = Path(__file__).parents[2]
KEPT = (
    *("sweep.json", "results.csv", "results.md", "report.html", "report.md"),
    *("strategies.csv", "predictions.csv", "calibration.json", "plots"),
)
"""Of a sweep's folder, beside its rows."""


def gather(archives: list[Path], into: Path) -> None:
    """Unpack archives over one another. A file of rows that two of them have under one name is the longer one if they
    begin alike, as on one machine, and otherwise both."""
    for number, archive in enumerate(archives):
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            for source in (path for path in Path(folder).rglob("*") if path.is_file()):
                target = into / source.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                if source.parent.name == "rows" and target.exists():
                    old, new = target.read_bytes(), source.read_bytes()
                    if old.startswith(new):
                        continue
                    if not new.startswith(old):
                        target = target.with_name(f"{source.stem}-{number}.jsonl")
                shutil.copyfile(source, target)


def gpu_of(measured: answers.Measured) -> str:
    """The GPU's name as a folder's: `NVIDIA H200` → `h200`; `cpu` for a rehearsal."""
    rows = [row for sweep in measured.sweeps.values() for row in sweep]
    name = next((str(row.provenance["gpu"]) for row in rows if row.provenance.get("gpu")), "cpu")
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia ")).strip("-")


def report(sweep: Path) -> None:
    """The page, tables and predictions of a sweep."""
    command = [sys.executable, "-m", "svdsweep", "report", "--predict", str(sweep)]
    subprocess.run(command, check=True, cwd=ROOT)


def conditions(measured: answers.Measured, rows: list[Row]) -> str:
    """README.md: what was measured, on what, how, and what that cannot tell."""
    facts = rows[0].provenance if rows else {}
    clocks = sorted({str(row.values["sm_clock_mhz"]) for row in rows if row.values.get("sm_clock_mhz")})
    slowed = sorted({row.job.memory.name for row in rows if row.values.get("throttle")})
    days = sorted({str(row.values["started_at"])[:10] for row in rows if row.values.get("started_at")})
    sweeps = ", ".join(f"[{name}]({name}/report.md)" for name in measured.sweeps)
    tables = ", ".join(
        f"[{path.stem}]({path.name})" for path in sorted(measured.folder.glob("*_svd_xt_*.md"))
    )
    more = ", ".join(
        f"[{name}]({name}.md)"
        for name in ("attention", "convolution")
        if (measured.folder / f"{name}.md").exists()
    )
    return (
        f"# First light: {facts.get('gpu') or facts.get('cpu')}\n\n"
        f"* Measured {', '.join(days)} by `tests/gpu/first_light.sh`, in a quarter of an hour; what was asked and "
        f"answered: [first_light.md](first_light.md).\n"
        f"* {facts.get('gpu')}, driver {facts.get('driver')}, CUDA {facts.get('cuda')}, cuDNN {facts.get('cudnn')}, "
        f"torch {facts.get('torch')}, diffusers {facts.get('diffusers')}, transformers {facts.get('transformers')}, "
        f"Python {facts.get('python')}; {facts.get('cpu')}, {facts.get('host_ram_gib') or 0:.0f} GiB of host memory.\n"
        f"* SM clock {' and '.join(clocks) or 'not known'} MHz, not locked; slowed down by the power cap: "
        f"{', '.join(slowed) or 'none'}; alone on the GPU.\n"
        "* Random weights at true size: VRAM and latency are those of SVD-XT, the pictures mean nothing, and so do "
        "metrics of them. Frames are compared bit by bit with the baseline's all the same.\n"
        "* One warm-up, one timed run of 8 steps (`whole_run`: 25 steps, `capped`: 4 steps, neither warmed up): no "
        "figure has an interval.\n"
        f"* Sweeps: {sweeps}. Each folder has `rows/` (as measured), `report.html`, `results.csv` and, where VRAM was "
        "predicted, `predictions.csv`.\n"
        f"* Kernels: {more or 'none'}; steps under the profiler: {tables or 'none'}.\n"
        "* Made again from the rows, without a GPU: `svdsweep report --predict runs/published/"
        f"{gpu_of(measured)}/first_light`.\n"
    )


def main() -> None:
    """Gather, report, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, default=ROOT / "runs" / "published")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        gather(asked.archives, work)
        for name in answers.Measured(work).sweeps:
            report(work / name)
        answers.write(work)
        measured = answers.Measured(work)
        out = asked.into / gpu_of(measured)
        for name in measured.sweeps:
            shutil.copytree(work / name / "rows", out / name / "rows", dirs_exist_ok=True)
            for kept in KEPT:
                source = work / name / kept
                if source.is_dir():
                    shutil.copytree(source, out / name / kept, dirs_exist_ok=True)
                elif source.exists():
                    shutil.copyfile(source, out / name / kept)
        for path in (*work.glob("*.md"), *work.glob("*.json")):
            shutil.copyfile(path, out / path.name)
        rows = measured.sweeps.get("first_light") or next(iter(measured.sweeps.values()), [])
        (out / "README.md").write_text(conditions(measured, rows), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
