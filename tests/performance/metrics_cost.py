"""What judging a video costs.

    python tests/performance/metrics_cost.py

The fast metrics (no weights) with one thread, a process for each size of video."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import published

SHAPES = ((14, 64, 64), (25, 576, 1024))


def measured(count: int, height: int, width: int) -> list[dict[str, object]]:
    """Rows of the table, in this process: all fast families together, then each alone."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
    import torch
    from clips import Surface, noise, path

    from svdsweep.config import Metrics
    from svdsweep.metrics import Context, score

    torch.set_num_threads(1)
    surface = Surface("textured", (height, width))
    frames = np.concatenate([noise(path(surface, [4.0 * t]), 2, seed=t).frames for t in range(count)])
    context = Context(image=frames[0], decode_chunk_size=8, nonfinite_values=0, reference=frames[::-1].copy())
    score(frames[:3], Context(), ["temporal"])  # the first call of a kernel is no measure of it
    rows: list[dict[str, object]] = []
    for families in (Metrics().families, *([family] for family in Metrics().families)):
        before_gib = published.peak_gib()
        began, cpu = time.perf_counter(), time.process_time()
        score(frames, context, families)
        rows.append(
            {
                "video": f"{count}×{height}×{width}",
                "metrics": "all" if len(families) > 1 else families[0],
                "s": time.perf_counter() - began,
                "CPU s": time.process_time() - cpu,
                "peak of the process so far, GiB": published.peak_gib(),
                "before, GiB": before_gib,
            }
        )
    return rows


def main() -> None:
    """Print and publish the table; `--one FRAMES HEIGHT WIDTH` is a child's."""
    parser = published.options(__doc__)
    parser.add_argument("--one", type=int, nargs=3)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(*asked.one)))
        return
    table = []
    for shape in SHAPES:
        table += published.in_a_process(__file__, "--one", *map(str, shape), OMP_NUM_THREADS="1")
    published.publish(
        asked.out,
        "metrics_cost",
        "Judging a video",
        "The fast metrics of one video, frames × height × width, one thread. The memory is the peak of the process, "
        "with torch, the frames and the reference in it.",
        table,
    )


if __name__ == "__main__":
    main()
