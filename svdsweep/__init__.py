"""svdsweep: batch experiments and sweeps for Stable Video Diffusion."""

from svdsweep.config.version import __version__

__all__ = ["__version__"]
