"""The steps of the first quarter of an hour on a GPU, each in a process of its own, none beyond the time that is left.

Called by first_light.sh, whose head says how. What the steps leave lies in one folder of the machine's temporary files;
of it the archive takes everything but videos, sheets and kept frames."""

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import answers

from svdsweep.store.files import renamed_when_done

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PERFORMANCE = ROOT / "tests" / "performance"
BUDGET_S = {1: 400.0, 2: 420.0}
LAST_S = 6.0
"""Kept for the last answers and the last archive."""
SAVE_EVERY_S = 20.0
ARCHIVE_BYTES = 16 * 2**20
LEFT_OUT = ("videos", "sheets", "differences", "baselines", "plots", "cache")
"""Folders of a sweep that are large, or can be made anew from its rows."""
QUICK_TESTS = "every_bit or streamed or waits or fp8_run or smaller_card or peaks or as_many"
RUNS_ON_ONE_SIZE = ("measure.warmup=1", "measure.noise_floor=false", "metrics=none")


@dataclass(frozen=True)
class Step:
    """One command, with the seconds that it needs (an H200 did, roughly), with less of which it is not begun, and those
    after which it is ended."""

    name: str
    command: Sequence[str]
    needs_s: float
    limit_s: float


def steps(part: int, device: str, work: Path) -> list[Step]:
    """The steps of a part, the most wanted first."""
    rehearsal = device == "cpu"
    python = sys.executable
    model = (
        ("model=tiny", "num_frames=4", "num_inference_steps=2")
        if rehearsal
        else ("model=svd_xt", "model.weights=random", "num_inference_steps=8")
    )

    def sweep(name: str, *settings: str) -> list[str]:
        where = (f"runs_dir={work}", f"name={name}", f"runner.devices={device}")
        return [python, "-m", "svdsweep", *model, *RUNS_ON_ONE_SIZE, *where, *settings]

    def script(path: Path, *arguments: str) -> list[str]:
        return [python, str(path), *arguments, "--out", str(work)]

    pytest = (python, "-m", "pytest", "-v", "-n", "0", "-p", "no:cacheprovider")
    few, whole = ("2", "3") if rehearsal else ("4", "25")
    if part == 1:
        return [
            Step("probes", script(HERE / "probes.py", "--device", device), 35, 90),
            Step("doctor", [python, "-m", "svdsweep", "doctor", "--runs-dir", str(work)], 20, 60),
            Step("tests", [*pytest, str(HERE), "-k", QUICK_TESTS], 50, 90),
            Step("memory", sweep("first_light", "memory=baseline,chunked_decode,streamed_decode,smallest"), 120, 300),
            Step(
                "4 GiB",
                [
                    *sweep("capped", "memory=smallest", f"num_inference_steps={few}", "measure.warmup=0"),
                    *(() if rehearsal else ("gpu.memory_limit_gib=4",)),
                ],
                40,
                90,
            ),
        ]  # fmt: skip
    sizes = [setting for setting in model if "steps" not in setting]
    fastest = "memory=fastest" if not rehearsal else "memory=single_token"  # on a CPU compiling takes minutes
    return [
        Step("fastest", sweep("fastest", "memory=baseline,fastest,fastest_aggressive"), 200, 400),
        Step("norms by group", sweep("fastest", "memory=fastest", "memory.norms_by_channel=false"), 130, 200),
        Step(
            "whole run",
            sweep("whole_run", "memory=baseline", f"num_inference_steps={whole}", "measure.warmup=0"),
            40,
            90,
        ),
        Step("profile of fastest", script(HERE / "profile_step.py", *sizes, fastest), 70, 120),
        Step(
            "CUDA graphs",
            [
                *sweep("cuda_graphs", "memory=baseline,cuda_graphs", "image=rocket,coffee"),
                *("model=tiny", "model.weights=pretrained", "num_inference_steps=4"),
            ],
            60,
            120,
        ),
        Step("attention", script(PERFORMANCE / "attention.py"), 15, 60),
        Step("profile of the baseline", script(HERE / "profile_step.py", *sizes, "memory=baseline"), 30, 70),
        Step("convolutions", script(PERFORMANCE / "convolution.py"), 45, 90),
    ]


class Archive:
    """What was measured so far, as one file that is replaced as a whole."""

    def __init__(self, work: Path, path: Path) -> None:
        self.work, self.path = work, path
        self.saved_at = 0.0

    def save(self) -> None:
        """Write it, the largest files left out should it be too large; and the answers beside it."""
        self.saved_at = time.monotonic()
        answers.write(self.work)
        files = sorted(self._files(), key=lambda path: path.stat().st_size)
        while files:
            with renamed_when_done(self.path) as part:
                with tarfile.open(part, "w:gz", compresslevel=6) as tar:
                    for file in files:
                        tar.add(file, file.relative_to(self.work))
                small = part.stat().st_size <= ARCHIVE_BYTES
            if small:
                break
            print(f"left out of the archive, too large: {files.pop().relative_to(self.work)}")
        (self.path.parent / answers.FILE).write_bytes((self.work / answers.FILE).read_bytes())

    def save_sometimes(self) -> None:
        """Save if the last time is long ago."""
        if time.monotonic() - self.saved_at > SAVE_EVERY_S:
            self.save()

    def _files(self) -> list[Path]:
        everything = (path for path in self.work.rglob("*") if path.is_file())
        return [
            path
            for path in everything
            if not set(path.relative_to(self.work).parts) & set(LEFT_OUT) and not path.name.startswith(".")
        ]


def run(step: Step, until: float, archive: Archive) -> str:
    """Run a step until it ends, at the latest at `until` or its limit; what it prints goes to its log. How it ended."""
    until = min(until, time.monotonic() + step.limit_s)
    log_path = archive.work / "logs" / f"{step.name.replace(' ', '_')}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
        )
        try:
            while process.poll() is None:
                if time.monotonic() > until:
                    return "cut off"
                time.sleep(0.2)
                archive.save_sometimes()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # a sweep's workers die with it
                process.wait()
    return "done" if process.returncode == 0 else f"exit code {process.returncode}"


def last_lines(path: Path, count: int = 12) -> str:
    """The end of a log, without what progress bars have overwritten."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join(f"    {line.rsplit(chr(13), 1)[-1]}" for line in lines[-count:])


def main() -> None:
    """Run the steps for which there is time."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step under way is ended too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", type=int, choices=(1, 2))
    parser.add_argument("--device", default="0", help="a GPU's index, or cpu for a rehearsal (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="where answers and archive go")
    parser.add_argument("--budget-s", type=float, help="seconds in all (default: 400 and 420)")
    asked = parser.parse_args()
    budget_s = asked.budget_s or BUDGET_S[asked.part]
    work = Path(tempfile.gettempdir()) / "svdsweep-first-light"
    work.mkdir(parents=True, exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(work / "cache")
    archive = Archive(work, asked.out / f"first_light_{asked.part}.tar.gz")

    def say(text: str) -> None:
        line = f"[{time.monotonic() - began:4.0f} s of {budget_s:.0f}] {text}"
        print(line, flush=True)
        with (work / "steps.txt").open("a", encoding="utf-8") as f:
            f.write(f"part {asked.part} {line}\n")

    for step in steps(asked.part, asked.device, work):
        left_s = began + budget_s - LAST_S - time.monotonic()
        if left_s < step.needs_s:
            say(f"{step.name}: not begun, {left_s:.0f} s left of {step.needs_s:.0f} needed")
            continue
        say(f"{step.name} …")
        ended = run(step, began + budget_s - LAST_S, archive)
        say(f"{step.name}: {ended}")
        print(last_lines(work / "logs" / f"{step.name.replace(' ', '_')}.log", 4 if ended == "done" else 30))
        archive.save()
    archive.save()
    print(f"Everything is in {archive.path}.")
    print((work / answers.FILE).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
