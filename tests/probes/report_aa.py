"""python tests/probes/report_aa.py [TRIALS]
A/A: two identical jobs, one after the other; their intervals of total_s must overlap. Run it on an idle machine."""

import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # two threads on two busy cores are ten times slower than one

from svdsweep.config import Image, Job, Measure, Metrics
from svdsweep.store.rows import Row
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import load

NEEDED, OF = 19, 20
JOB = Job(
    image=Image(path="rocket.jpg"),
    num_frames=4,
    num_inference_steps=2,
    max_guidance_scale=1.5,
    metrics=Metrics(families=[]),
    measure=Measure(warmup=1, repeats=5, share_latents=False),
)


def overlap(a: Row, b: Row) -> bool:
    """Whether the 95 % intervals of two rows' total_s have a point in common."""
    low_a, high_a, low_b, high_b = (
        float(r.values[c]) for r in (a, b) for c in ("total_s_low", "total_s_high")
    )  # type: ignore[arg-type]
    return low_a <= high_b and low_b <= high_a


def main() -> int:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else OF
    with tempfile.TemporaryDirectory() as folder:
        work = load(Slot("cpu", Path(folder), 1))
        rows = [work(JOB, 1, lambda *_: None) for _ in range(2 * trials)]
    agreeing = 0
    for a, b in zip(rows[::2], rows[1::2], strict=True):
        agrees = overlap(a, b)
        agreeing += agrees
        bounds = [f"{r.values['total_s_low']:.4f}–{r.values['total_s_high']:.4f} s" for r in (a, b)]
        sys.stdout.write(f"{bounds[0]}   {bounds[1]}   {'overlap' if agrees else 'APART'}\n")
    load_1min = os.getloadavg()[0]
    sys.stdout.write(f"{agreeing} of {trials} trials overlap; load {load_1min:.2f}\n")
    return 0 if agreeing * OF >= NEEDED * trials else 1


if __name__ == "__main__":
    sys.exit(main())
