"""Predicted activations against the real CPU allocator, on networks that fit here.

The CPU's convolutions make copies for themselves: oneDNN's of input and weights in its own layout, and the columns of
`slow_conv3d`. They are no tensors of the network, a GPU's kernels make others, and nothing predicts them; they are told
apart by the profiler, which sees in which operation memory is taken and returned.

python tests/predict/report_allocator.py"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from svdsweep.models.architectures import architecture
from svdsweep.models.load import on_meta, random_pipeline
from svdsweep.predict.fake_gpu import fake_gpu, materialize
from svdsweep.predict.prediction import MIB
from svdsweep.predict.tracker import Tracker

FRAMES, SIZE = 6, 32
"""Of the latents (SIZE × SIZE)."""
CASES = ("unet", "encode", "decode")
CONVOLUTION = "aten::convolution"


@dataclass(frozen=True)
class Change:
    """An allocation (nbytes > 0) or its end, and the convolution in which it happens: when it begins, 0 for none."""

    time_ns: int
    address: int
    nbytes: int
    convolution_ns: int


def call(networks: dict[str, Any], case: str, device: str, size: int) -> Any:
    def make(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, device=device)

    if case == "unet":
        context = networks["unet"].config.cross_attention_dim
        given = (
            make(2, FRAMES, networks["unet"].config.in_channels, size, size),
            make(()),
            make(2, 1, context),
            make(2, 3),
        )
        return networks["unet"](*given, return_dict=False)
    if case == "encode":
        return networks["vae"].encode(make(1, 3, 8 * size, 8 * size))
    return networks["vae"].decode(
        make(FRAMES, networks["vae"].config.latent_channels, size, size), num_frames=FRAMES
    )


def allocated_mib(case: str, size: int = SIZE) -> tuple[float, float]:
    """Peak of what the CPU allocator gave out, and the peak without the convolutions' own copies."""
    pipe = random_pipeline(architecture("tiny"), torch.float32, torch.device("cpu"))
    networks = {"unet": pipe.unet.eval(), "vae": pipe.vae.eval()}
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call(networks, case, "cpu", size)
    roots = seen.profiler.kineto_results.experimental_event_tree()
    changes = sorted((c for root in roots for c in changes_of(root, 0)), key=lambda c: c.time_ns)
    return peak_mib(changes), peak_mib(without_own_copies(changes))


def changes_of(event: Any, convolution_ns: int) -> Iterator[Change]:
    """Those of an event of the profiler and all within it."""
    if event.tag == _EventType.Allocation:
        facts = event.extra_fields
        yield Change(event.start_time_ns, facts.ptr, facts.alloc_size, convolution_ns)
    elif event.name == CONVOLUTION:
        convolution_ns = event.start_time_ns
    for child in event.children:
        yield from changes_of(child, convolution_ns)


def without_own_copies(changes: list[Change]) -> list[Change]:
    """Without what a convolution both takes and returns."""
    began: dict[int, Change] = {}
    own: set[Change] = set()
    for change in changes:
        if change.nbytes > 0:
            began[change.address] = change
        elif (first := began.pop(change.address, None)) and first.convolution_ns:
            own |= {first, change} if first.convolution_ns == change.convolution_ns else set()
    return [change for change in changes if change not in own]


def peak_mib(changes: list[Change]) -> float:
    live = peak = 0
    for change in changes:
        live += change.nbytes
        peak = max(peak, live)
    return peak / MIB


def predicted_mib(case: str, size: int = SIZE) -> float:
    tracker = Tracker()
    networks = on_meta(architecture("tiny"))
    with fake_gpu(tracker.is_weight), tracker:
        for network in networks.values():
            materialize(network.eval(), torch.float32, "cuda")
        tracker.mark()
        held = tracker.nbytes
        call(networks, case, "cuda", size)
        return (tracker.mark()[0].nbytes - held) / MIB


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES:
        (allocated, tensors), predicted = allocated_mib(case), predicted_mib(case)
        print(
            f"{case:8s} predicted {predicted:9.2f} MiB; allocated {allocated:9.2f} MiB, ratio "
            f"{allocated / predicted:.3f}; without the convolutions' own copies {tensors:9.2f} MiB, ratio "
            f"{tensors / predicted:.4f}"
        )
