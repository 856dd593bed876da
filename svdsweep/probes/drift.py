"""Did the machine slow down while a sweep ran? Rows of equal work, in the order of their start. No torch."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from svdsweep.config import Image, Job, Measure, Metrics
from svdsweep.identity import canonical, digest
from svdsweep.probes.statistics import drift
from svdsweep.store import Row

CORRELATED = 0.5
SLOWER = 1.02


def drift_of_sweep(rows: Iterable[Row]) -> list[str]:
    """A sentence for each kind of work that took longer the later it ran: rank correlation of total_s with time above
    0.5, and the later half's median more than 2 % above the earlier one's; from 6 timed rows on, on one device."""
    alike: dict[tuple[object, ...], list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        started_at, total_s = row.values.get("started_at"), row.values.get("total_s")
        measured = row.status == "ok" and row.values.get("latency_shared_with") is None
        if measured and isinstance(started_at, str) and isinstance(total_s, float):
            where = (row.provenance.get("host"), row.provenance.get("gpu_uuid"), row.job.memory.name)
            alike[(work_of(row.job), *where)].append((started_at, total_s))
    found = []
    for (_, host, gpu, strategy), timed in alike.items():
        seconds = [total_s for _, total_s in sorted(timed)]
        rho = drift(seconds)
        half = len(seconds) // 2
        if rho is None or rho <= CORRELATED:
            continue
        ratio = statistics.median(seconds[-half:]) / statistics.median(seconds[:half])
        if ratio > SLOWER:
            found.append(
                f"{strategy} on {gpu or host}: total_s rose by {ratio - 1:.0%} over {len(seconds)} rows of equal work "
                f"(rank correlation with time {rho:.2f})"
            )
    return found


def work_of(job: Job) -> str:
    """Key of what a job's latency depends on: picture, seed and conditioning change no number of operations."""
    same = replace(
        job,
        image=Image(),
        seed=0,
        motion_bucket_id=0,
        noise_aug_strength=0.0,
        fps=1,
        measure=Measure(),
        metrics=Metrics(),
    )
    return digest(canonical(same))
