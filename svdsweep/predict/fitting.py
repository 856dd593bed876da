"""Whether a predicted peak fits a card: what a process needs beside its tensors, stated."""

from dataclasses import dataclass

from svdsweep.predict.summary import Summary

CARDS_GB = (6, 8, 10, 12, 16, 24, 32, 48, 80)
"""Sizes that cards are sold in; "8 GB" is 8 GiB."""
YES, TIGHT, NO = "yes", "tight", "no"


@dataclass(frozen=True)
class Allowance:
    """What a GPU must have beyond live tensors, before measurements tell it."""

    context_gib: float = 0.5
    """CUDA context and loaded kernels: 0.3–0.6 GiB by GPU and driver."""
    share: float = 0.05
    """Of every stage's peak: fragmentation and workspaces of matrix products."""
    decode_share: float = 0.15
    """Of the decode's: its convolutions ask for larger workspaces (on the CPU up to 0.25 was seen)."""

    def of(self, stage: str) -> float:
        """The share that is added to a stage's peak."""
        return self.decode_share if stage == "vae_decode" else self.share


ALLOWANCE = Allowance()


def needed_gib(
    summary: Summary, gpu_constant: float | None = None, allowance: Allowance = ALLOWANCE
) -> float:
    """Device memory (GiB) with which the job surely runs: the peak of live tensors and the constant that was fitted for
    this GPU, or, before there is one, the stated allowance."""
    if gpu_constant is not None:
        return summary.peak_gib + gpu_constant
    stages = summary.stages.items()
    return max(s.peak_gib * (1 + allowance.of(name)) for name, s in stages) + allowance.context_gib


def verdict(summary: Summary, vram_gib: float, gpu_constant: float | None = None) -> str:
    """`yes`: with the allowance. `no`: not even the live tensors beside a context (or the fitted constant) fit.
    `tight`: between the two, where only a run can tell."""
    if needed_gib(summary, gpu_constant) <= vram_gib:
        return YES
    least = ALLOWANCE.context_gib if gpu_constant is None else min(ALLOWANCE.context_gib, gpu_constant)
    return TIGHT if summary.peak_gib + least <= vram_gib else NO


def fits(summary: Summary, vram_gib: float, gpu_constant: float | None = None) -> bool:
    """Whether the job surely fits `vram_gib`, by `needed_gib`; to refuse a job, ask `verdict` for a `no`."""
    return verdict(summary, vram_gib, gpu_constant) == YES
