"""Peak VRAM and the floor of latency of a job, without a GPU; torch is imported only when something is simulated."""
