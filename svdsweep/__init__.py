"""svdsweep: batch experiments and sweeps for Stable Video Diffusion."""

__version__ = "0.1.0"
