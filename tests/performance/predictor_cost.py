"""What a prediction costs.

    python tests/performance/predictor_cost.py [--model svd_xt]

Every preset of conf/memory at full size, a fresh process and an empty cache for each."""

import json
import tempfile
import time
from pathlib import Path

import published

from svdsweep.grid.expand import expand

CONF = Path(__file__).parents[2] / "conf" / "memory"


def measured(preset: str, model: str) -> dict[str, object]:
    """One row of the table but for the wall time, of this process from its start."""
    from svdsweep.predict.batch import predictions

    [summary] = predictions(
        expand([f"model={model}", "model.weights=random", f"memory={preset}"]).jobs, compute=True
    ).values()
    return {
        "preset": preset,
        "predicted peak, GiB": summary.peak_gib if summary else None,
        "CPU, s": time.process_time(),
        "peak of the process, GiB": published.peak_gib(),
    }


def main() -> None:
    """Print and publish the table; `--one PRESET` is a child's."""
    parser = published.options(__doc__)
    parser.add_argument("--model", default="svd_xt")
    parser.add_argument("--one")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.one, asked.model)))
        return
    table = []
    for preset in sorted(path.stem for path in CONF.glob("*.yaml")):
        with tempfile.TemporaryDirectory() as cache:
            arguments = ("--model", asked.model, "--one", preset)
            began = time.perf_counter()
            row = published.in_a_process(__file__, *arguments, XDG_CACHE_HOME=cache, OMP_NUM_THREADS="1")
            table.append({"preset": preset, "wall, s": time.perf_counter() - began, **row})
    published.publish(
        asked.out,
        "predictor_cost",
        "Predicting a strategy",
        f"{asked.model} at its own size, a preset a process, empty cache, one thread; from the start of the process to "
        "its end, so imports count in memory and time. Without a figure: the preset cannot be predicted.",
        table,
    )


if __name__ == "__main__":
    main()
