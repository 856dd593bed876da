"""What every test needs: one torch thread a process, no network, no CUDA."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # two threads a process on two busy cores are ten times slower than one
os.environ.setdefault("HF_HUB_OFFLINE", "1")
