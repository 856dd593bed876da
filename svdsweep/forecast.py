"""What is known of jobs before they run: whether they fit their device, and which are refused because they do not."""

from collections.abc import Sequence

from svdsweep.config import Job
from svdsweep.predict import Summary, summaries, verdict
from svdsweep.predict.fitting import NO
from svdsweep.runner.devices import vram_gib
from svdsweep.store import Row


def kind_of(devices: list[str]) -> str:
    """`cpu` or `cuda`, as torch calls it."""
    return "cpu" if devices == ["cpu"] else "cuda"


def runs_on_gpu(job: Job, devices: list[str]) -> bool:
    """Whether a prediction of VRAM says anything about the job: nobody runs the real models on a CPU."""
    return (
        kind_of(devices) == "cuda" or job.model.architecture != "tiny" or job.gpu.memory_limit_gib is not None
    )


def fit_of(job: Job, summary: Summary | None, card_gib: float | None) -> str:
    """`yes`, `tight` or `no`: whether the job fits its limit or the smallest card here; empty when unknown."""
    limits = [gib for gib in (job.gpu.memory_limit_gib, card_gib) if gib is not None]
    return verdict(summary, min(limits)) if summary and limits else ""


def card_gib(devices: Sequence[str]) -> float | None:
    """Memory (GiB) of the smallest GPU among the devices; None without one."""
    return min((gib for device in devices if (gib := vram_gib(device))), default=None)


def foreseen_oom(jobs: Sequence[Job], devices: list[str]) -> list[Row]:
    """`rejected` rows, with the figure, of the jobs that cannot fit by prediction (`runner.skip_predicted_oom`).

    Imports torch for strategies that were not predicted before."""
    card = card_gib(devices)
    predicted = summaries([job for job in jobs if runs_on_gpu(job, devices)], compute=True)
    rows = []
    for job in jobs:
        summary = predicted.get(job.key)
        if summary and fit_of(job, summary, card) == NO:
            rows.append(
                _refusal(job, summary, min(g for g in (job.gpu.memory_limit_gib, card) if g is not None))
            )
    return rows


def _refusal(job: Job, summary: Summary, limit_gib: float) -> Row:
    reason = (
        f"{summary.peak_gib:.1f} GiB predicted at its peak, in {summary.peak_stage}, and {limit_gib:.1f} GiB are "
        "there; runner.retry=[rejected] without runner.skip_predicted_oom runs it all the same"
    )
    return Row(job, "rejected", error=reason, phase="load", values={"predicted_vram_gib": summary.peak_gib})
