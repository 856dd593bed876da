"""`python tests/metrics/bench_cost.py [FRAMES HEIGHT WIDTH]`: seconds and peak memory of all fast metrics."""

import resource
import sys
import time

import numpy as np
import torch
from clips import Surface, noise, path

from svdsweep.config import Metrics
from svdsweep.metrics import Context, score


def main() -> None:
    count, height, width = (int(a) for a in sys.argv[1:4]) if len(sys.argv) > 3 else (25, 576, 1024)
    torch.set_num_threads(1)
    surface = Surface("textured", (height, width))
    frames = np.concatenate([noise(path(surface, [4.0 * t]), 2, seed=t).frames for t in range(count)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    context = Context(image=frames[0], decode_chunk_size=8, nonfinite_values=0, reference=frames[::-1].copy())
    score(frames[:3], Context(), ["temporal"])  # the first call of a kernel is no measure of it
    for families in (Metrics().families, *([f] for f in Metrics().families)):
        began, cpu = time.perf_counter(), time.process_time()
        score(frames, context, families)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{'+'.join(families):60} {seconds:6.2f} s {cpu_s:6.2f} CPU s, peak {peak:.2f} GiB "
            f"(before the first: {before:.2f})"
        )


if __name__ == "__main__":
    main()
