"""Predicted activations against the real CPU allocator, on networks that fit here.

The allocator also sees the workspaces of the CPU's kernels, which are not predicted; how much of the difference they
are is not told apart here.

python tests/predict/report_allocator.py"""

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from svdsweep.models.load import architecture, on_meta, random_pipeline
from svdsweep.predict.faking import fake_gpu, materialize
from svdsweep.predict.summary import MIB
from svdsweep.predict.tracker import Tracker

FRAMES, SIZE = 6, 32
CASES = ("unet", "encode", "decode")


def call(networks: dict[str, Any], case: str, device: str) -> Any:
    def make(*size: int) -> torch.Tensor:
        return torch.zeros(*size, device=device)

    if case == "unet":
        context = networks["unet"].config.cross_attention_dim
        given = (
            make(2, FRAMES, networks["unet"].config.in_channels, SIZE, SIZE),
            make(()),
            make(2, 1, context),
            make(2, 3),
        )
        return networks["unet"](*given, return_dict=False)
    if case == "encode":
        return networks["vae"].encode(make(1, 3, 8 * SIZE, 8 * SIZE))
    return networks["vae"].decode(
        make(FRAMES, networks["vae"].config.latent_channels, SIZE, SIZE), num_frames=FRAMES
    )


def allocated_mib(case: str) -> float:
    pipe = random_pipeline(architecture("tiny"), torch.float32, torch.device("cpu"))
    networks = {"unet": pipe.unet.eval(), "vae": pipe.vae.eval()}
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call(networks, case, "cpu")
    live = peak = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak / MIB


def predicted_mib(case: str) -> float:
    tracker = Tracker()
    networks = on_meta(architecture("tiny"))
    with fake_gpu(tracker.is_weight), tracker:
        for network in networks.values():
            materialize(network.eval(), torch.float32, "cuda")
        tracker.restart()
        held = tracker.nbytes
        call(networks, case, "cuda")
        return (tracker.mark()[0].nbytes - held) / MIB


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES:
        real, predicted = allocated_mib(case), predicted_mib(case)
        print(
            f"{case:8s} allocated {real:9.2f} MiB  predicted {predicted:9.2f} MiB  ratio {real / predicted:.3f}"
        )
