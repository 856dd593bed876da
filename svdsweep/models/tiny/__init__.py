"""The embedded model: a small Stable Video Diffusion, its weights and the program that trained it."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The model in diffusers' folder layout: what `StableVideoDiffusionPipeline.from_pretrained` takes."""
