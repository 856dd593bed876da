"""What is read while the pipeline runs: stages, latency, VRAM, host RAM, energy, environment."""
