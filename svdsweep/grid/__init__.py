"""From a command line to jobs: Hydra's grammar and presets, the product, and every job checked."""
