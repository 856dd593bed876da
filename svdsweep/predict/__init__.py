"""Peak VRAM and the floor of latency of a job, without a GPU; torch is imported only when something is simulated."""

from svdsweep.predict.calibration import Calibration, fitted_to
from svdsweep.predict.command import main
from svdsweep.predict.fitting import fits, needed_gib, verdict
from svdsweep.predict.predictions import Unpredicted, outcomes, summaries
from svdsweep.predict.summary import Summary

__all__ = [
    "Calibration",
    "Summary",
    "Unpredicted",
    "fits",
    "fitted_to",
    "main",
    "needed_gib",
    "outcomes",
    "summaries",
    "verdict",
]
