"""Did the machine slow down while a sweep ran? Jobs of equal work, in the order of their start."""

import statistics

from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import SETTINGS
from svdsweep.probes.statistics import drift

CORRELATED = 0.5
SLOWER = 1.02
NO_WORK = {"seed", "image", "motion_bucket_id", "noise_aug_strength", "fps", "measure", "metrics"}
"""Settings that change no number of operations."""
PLACE = ("host", "gpu_uuid")
WORK = (*(name for name in SETTINGS if name.split(".")[0] not in NO_WORK), *PLACE)


def drift_of_sweep(sweep: Sweep) -> list[str]:
    """A sentence for each kind of work that took longer the later it ran: rank correlation of total_s with time above
    0.5, and the later half's median more than 2 % above the earlier one's; from 6 timed jobs on, on one device. Jobs
    that share another's latency do not count."""
    rows = sweep.ok
    if not {"started_at", "total_s"} <= set(rows):
        return []
    rows = rows[rows["started_at"].notna() & rows["total_s"].notna()]
    if "latency_shared_with" in rows:
        rows = rows[rows["latency_shared_with"].isna()]
    deciding = [name for name in WORK if name in rows]
    sentences = []
    for _, equal in rows.groupby(deciding, dropna=False, sort=False):
        seconds = [float(s) for s in equal.sort_values("started_at")["total_s"]]
        rho, half = drift(seconds), len(seconds) // 2
        if rho is None or rho <= CORRELATED:
            continue
        ratio = statistics.median(seconds[-half:]) / statistics.median(seconds[:half])
        if ratio > SLOWER:
            first = equal.iloc[0]
            where = " ".join(map(str, first[[name for name in PLACE if name in equal]].dropna()))
            sentences.append(
                f"{first['memory']} on {where}: total_s rose by {ratio - 1:.0%} over {len(seconds)} "
                f"jobs of equal work (rank correlation with time {rho:.2f}), so strategies that ran later look slower "
                "than they are; measure=rigorous takes turns"
            )
    return sentences
