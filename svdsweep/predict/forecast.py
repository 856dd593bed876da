"""What can be told of jobs before they run: whether they fit their device, and which are refused for that."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from svdsweep.config import Job
from svdsweep.predict.allowance import ALLOWANCE, NO, Allowance, allowance_for, verdict
from svdsweep.predict.batch import predictions
from svdsweep.predict.gpus import gpu_like
from svdsweep.predict.prediction import Prediction
from svdsweep.probes.devices import gpu_name, kind, vram_gib
from svdsweep.store.rows import Row


@dataclass(frozen=True)
class Card:
    """The GPU that jobs must fit: the smallest here, and what a process takes on it beside its tensors."""

    name: str | None = None
    gib: float | None = None
    allowance: Allowance = ALLOWANCE


def kind_of(devices: list[str]) -> str:
    """The kind of the devices as `why_not` takes it; of the GPU where there is one."""
    return kind(next((device for device in devices if device != "cpu"), "cpu"))


def runs_on_gpu(job: Job, devices: list[str]) -> bool:
    """Whether a prediction of VRAM says anything about the job: nobody runs the real models on a CPU."""
    limited = job.gpu.memory_limit_gib is not None
    return kind_of(devices) != "cpu" or job.model.architecture != "tiny" or limited


def fit_of(job: Job, prediction: Prediction | None, card: Card) -> str:
    """`yes`, `tight` or `no`: whether the job fits its limit or the card; empty when unknown."""
    limits = _limits(job, card)
    return verdict(prediction, min(limits), card.allowance) if prediction and limits else ""


def card_here(devices: Sequence[str], folder: Path) -> Card:
    """The smallest GPU among the devices, with the allowance that a sweep's folder, or one beside it, has for it."""
    sized = [(gib, device) for device in devices if (gib := vram_gib(device) or _as_published(device))]
    if not sized:
        return Card()
    gib, device = min(sized)
    name = gpu_name(device)
    return Card(name, gib, allowance_for(name, folder))


def _as_published(device: str) -> float | None:
    """The memory (GiB) of a card whose driver does not tell it, as Intel's; by its name, where the table has it."""
    name = gpu_name(device)
    gpu = gpu_like(name) if name else None
    return gpu.memory_gib if gpu else None


def foreseen_oom(jobs: Sequence[Job], devices: list[str], folder: Path) -> list[Row]:
    """`rejected` rows, with the figure, of the jobs that cannot fit by prediction (`runner.skip_predicted_oom`).

    Imports torch for strategies that were not predicted before."""
    card = card_here(devices, folder)
    predicted = predictions([job for job in jobs if runs_on_gpu(job, devices)], compute=True)
    pairs = [(job, predicted.get(job.key)) for job in jobs]
    return [_refusal(job, p, card) for job, p in pairs if p and fit_of(job, p, card) == NO]


def _limits(job: Job, card: Card) -> list[float]:
    return [gib for gib in (job.gpu.memory_limit_gib, card.gib) if gib is not None]


def _refusal(job: Job, prediction: Prediction, card: Card) -> Row:
    peak_gib = prediction.peak_gib
    reason = (
        f"{peak_gib:.1f} GiB predicted at its peak, in {prediction.peak_stage}, and "
        f"{min(_limits(job, card)):.1f} GiB are there, {card.allowance.least_gib:.1f} of them for the CUDA context; "
        "runner.retry=[rejected] without runner.skip_predicted_oom runs it all the same"
    )
    return Row(job, "rejected", error=reason, phase="load", values={"predicted_vram_gib": peak_gib})
