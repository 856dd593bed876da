"""Whether a predicted peak fits a card: what a process needs beside its tensors, stated, or fitted to a GPU's rows."""

import math
from dataclasses import dataclass
from pathlib import Path

from svdsweep.predict.calibration import fitted_to
from svdsweep.predict.prediction import Prediction

CARDS_GB = (6, 8, 10, 12, 16, 24, 32, 48, 80)
"""Sizes that cards are sold in; "8 GB" is 8 GiB."""
YES, TIGHT, NO = "yes", "tight", "no"


@dataclass(frozen=True)
class Allowance:
    """What a GPU must have beyond live tensors; as it stands, before measurements tell it."""

    context_gib: float = 0.5
    """CUDA context and loaded kernels: 0.3–0.6 GiB by GPU and driver. A fitted allowance is this constant alone."""
    share: float = 0.05
    """The part of every stage's peak that is added for fragmentation and workspaces of matrix products."""
    decode_share: float = 0.15
    """The same of the decode, whose convolutions ask for larger workspaces (on the CPU up to 0.25 was seen)."""
    fitted: str = ""
    """The measured rows it was fitted to; empty for the default."""
    up_to_gib: float = math.inf
    """The largest predicted peak that it holds for; above, the default holds."""

    @property
    def least_gib(self) -> float:
        """What a process takes on any account."""
        return min(Allowance.context_gib, self.context_gib)

    @property
    def words(self) -> str:
        """What is added, and where that comes from."""
        if self.fitted:
            return (
                f"{self.context_gib:.2f} GiB for context and workspaces, fitted to {self.fitted}, for peaks up to "
                f"{self.up_to_gib:.1f} GiB as measured there; above, with {ALLOWANCE.words}"
            )
        return (
            f"{self.context_gib:g} GiB for the CUDA context and {self.share:.0%} of the peak "
            f"({self.decode_share:.0%} in the decode) for workspaces and fragmentation, fitted to no measurement"
        )


ALLOWANCE = Allowance()


def allowance_for(gpu: str | None, folder: Path) -> Allowance:
    """The constant that was fitted to this GPU in a sweep's folder or one beside it; the stated allowance without."""
    if not gpu or not (fitting := fitted_to(gpu, folder)):
        return ALLOWANCE
    calibration, path = fitting
    rows = "row" if calibration.rows == 1 else "rows"
    fitted = f"{calibration.rows} measured {rows} of {calibration.gpu} ({path})"
    return Allowance(calibration.constant_gib, 0.0, 0.0, fitted, calibration.largest_gib)


def needed_gib(prediction: Prediction, allowance: Allowance = ALLOWANCE) -> float:
    """Device memory (GiB) with which the job surely runs: the peak of live tensors and the allowance."""
    if prediction.peak_gib > allowance.up_to_gib:
        allowance = ALLOWANCE
    shares = {"vae_decode": allowance.decode_share}
    peaks = (s.peak_gib * (1 + shares.get(name, allowance.share)) for name, s in prediction.stages.items())
    return max(peaks) + allowance.context_gib


def verdict(prediction: Prediction, vram_gib: float, allowance: Allowance = ALLOWANCE) -> str:
    """`yes`: with the allowance. `no`: not even the live tensors beside a context (or the fitted constant) fit.
    `tight`: between the two, where only a run can tell."""
    if needed_gib(prediction, allowance) <= vram_gib:
        return YES
    return TIGHT if prediction.peak_gib + allowance.least_gib <= vram_gib else NO


def fits(prediction: Prediction, vram_gib: float, allowance: Allowance = ALLOWANCE) -> bool:
    """Whether the job surely fits `vram_gib`, by `needed_gib`; to refuse a job, ask `verdict` for a `no`."""
    return verdict(prediction, vram_gib, allowance) == YES
