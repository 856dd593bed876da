"""The UNet's peak over fake tensors, by our count and by PyTorch's own MemTracker, which takes ten times as long.

Both see the same attention kernels; MemTracker wants parameters that could be trained.

python tests/predict/report_memtracker.py [svd_xt]"""

import sys
import time
from typing import Any

import torch
from torch.distributed._tools.mem_tracker import MemTracker

from svdsweep.models.architectures import architecture
from svdsweep.models.load import on_meta
from svdsweep.predict.fake_gpu import fake_gpu, materialize
from svdsweep.predict.prediction import MIB
from svdsweep.predict.simulate import quiet
from svdsweep.predict.tracker import Tracker

SIZES = {"tiny": (6, 32, 32), "svd_xt": (25, 72, 128)}
"""Frames, height and width of the latents."""
CHUNKS = {"tiny": (None, 2), "svd_xt": (None, 5)}
"""Of the feed-forward layers."""


def network_and_input(shape: str, chunk: int | None) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """A UNet in half precision on the fake GPU, and what it is called with under guidance."""
    unet: Any = on_meta(architecture(shape))["unet"].eval()
    materialize(unet, torch.float16, "cuda")
    if chunk:
        unet.enable_forward_chunking(chunk, 0)
    frames, height, width = SIZES[shape]

    def make(*size: int) -> torch.Tensor:
        return torch.zeros(*size, device="cuda:0", dtype=torch.float16)

    config = unet.config
    sample = make(2, frames, config.in_channels, height, width)
    return unet, (
        sample,
        torch.zeros((), device="cuda:0"),
        make(2, 1, config.cross_attention_dim),
        make(2, 3),
    )


def ours(shape: str, chunk: int | None) -> int:
    """Peak in bytes by our tracker, with weights and input."""
    tracker = Tracker()
    with quiet(), fake_gpu(tracker.is_weight), tracker:
        unet, given = network_and_input(shape, chunk)
        tracker.mark()
        unet(*given, return_dict=False)
        return tracker.mark()[0].nbytes


def pytorchs(shape: str, chunk: int | None) -> int:
    """Peak in bytes by MemTracker, with weights and input."""
    with quiet(), fake_gpu(Tracker().is_weight):
        unet, given = network_and_input(shape, chunk)
        unet.requires_grad_(True)
        tracker = MemTracker()
        tracker.track_external(unet, *given)
        with tracker:
            unet(*given, return_dict=False)
        (peak,) = tracker.get_tracker_snapshot("peak").values()
        return int(peak["Total"])


if __name__ == "__main__":
    for shape in sys.argv[1:] or SIZES:
        for chunk in CHUNKS[shape]:
            mine = ours(shape, chunk)
            began = time.perf_counter()
            other = pytorchs(shape, chunk)
            print(
                f"{shape:7s} feed-forward in chunks of {chunk or 'all'}: {mine / MIB:.2f} MiB, MemTracker "
                f"{other / MIB:.2f} MiB ({time.perf_counter() - began:.0f} s), difference {mine - other} bytes"
            )
