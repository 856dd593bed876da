"""The whole benchmark suite, one table after the other: `python tests/performance/all.py [--out FOLDER]`.

By hand, on an otherwise idle machine; the tables go to runs/published/performance with their conditions."""

import subprocess
import sys
from pathlib import Path

import published

SUITE = (
    "overhead.py",
    "waiting.py",
    "growth.py",
    "reading.py",
    "pick.py",
    "metrics_cost.py",
    "predictor_cost.py",
    "attention.py",
    "convolution.py",
    "compiled.py",
    "ablation.py",
)


def main() -> int:
    """Run each in a process of its own; the exit code is that of the first that fails."""
    asked = published.options(__doc__).parse_args()
    for name in SUITE:
        print(f"== {name}", flush=True)
        script = Path(__file__).with_name(name)
        if code := subprocess.run([sys.executable, str(script), "--out", str(asked.out)]).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
