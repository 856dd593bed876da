"""Which form of SVD-XT's convolutions is fastest here: in three dimensions or two, channels first or last, and with
cuDNN's kernel by rule or by trial.

    python tests/performance/convolution.py [--out FOLDER]

On a GPU the whole frames in float16; on the CPU in float32 a part of them, and nothing of cuDNN's. Each of cuDNN's ways
is asked in a process of its own: it goes on with the kernels that it has found by the other."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published
import torch
import torch.nn.functional as F

from svdsweep.memory.cudnn_benchmark import by_trial
from svdsweep.memory.measured_attention import seconds
from svdsweep.memory.temporal_conv2d import over_frames

FRAMES = 25
UNET = ((320, 72, 128), (640, 36, 64), (1280, 18, 32), (1280, 9, 16))
DECODER = ((512, 144, 256), (256, 288, 512), (128, 576, 1024))
"""Channels, height and width of each level; 576×1024. Both halves of guidance in the UNet."""
CPU_FLOP = 2e10
"""Of one call on the CPU: about a second."""
FIRST, LAST = "channels first", "channels last"


def forms(
    kind: str, videos: int, channels: int, height: int, width: int, device: torch.device
) -> tuple[dict[str, Callable[[], Any]], float]:
    """Each form of one layer, and its 10^12 operations."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    taps = 3 if kind == "temporal" else 9
    if device.type != "cuda":
        height = max(1, min(height, int(CPU_FLOP / (2 * taps * channels**2 * videos * FRAMES * width))))
    frames = torch.randn(videos * FRAMES, channels, height, width, device=device, dtype=dtype)
    last = frames.to(memory_format=torch.channels_last)
    tflop = 2 * taps * channels * frames.numel() / 1e12
    if kind == "spatial":
        conv = torch.nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        turned = conv.weight.to(memory_format=torch.channels_last)
        run = functools.partial(F.conv2d, bias=conv.bias, padding=1)
        return {
            f"2-D, {FIRST}": functools.partial(run, frames, conv.weight),
            f"2-D, {LAST}": functools.partial(run, last, turned),
        }, tflop
    plain, turned = (
        torch.nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), device=device, dtype=dtype)
        for _ in range(2)
    )
    turned.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    clip, clip_last = (x.unflatten(0, (videos, FRAMES)).transpose(1, 2) for x in (frames, last))
    clip = clip.contiguous()  # as the norm before it leaves them
    return {
        f"3-D, {FIRST}": functools.partial(plain, clip),
        f"3-D, {LAST}": functools.partial(turned, clip_last),
        f"2-D, {FIRST}": functools.partial(over_frames, plain, clip.flatten(3)),
        f"2-D, {LAST}": functools.partial(over_frames, turned, clip_last.flatten(3)),
    }, tflop


def row(
    kind: str, part: str, videos: int, size: tuple[int, int, int], device: torch.device, tried: bool
) -> dict[str, object]:
    """Of the table."""
    runs, tflop = forms(kind, videos, *size, device)
    with by_trial(tried):
        ms = {name: s * 1e3 for name, s in seconds(runs, device).items()}
    best = min(ms, key=lambda name: ms[name])
    channels, height, width = size
    return {
        "convolution": kind,
        "of": part,
        "channels": channels,
        "frames": f"{height}×{width}",
        "TFLOP": tflop,
        "cuDNN's kernel by": ("trial" if tried else "rule") if device.type == "cuda" else None,
        **{f"{d}-D, {order}, ms": ms.get(f"{d}-D, {order}") for d in (3, 2) for order in (FIRST, LAST)},
        "fastest": best,
        "TFLOP/s": tflop / ms[best] * 1e3,
    }


def rows(device: torch.device, tried: bool) -> list[dict[str, object]]:
    """Of the table, all layers in one of cuDNN's ways."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        return [
            row(kind, part, videos, size, device, tried)
            for kind in ("temporal", "spatial")
            for part, videos, sizes in (("UNet", 2, UNET), ("decoder", 1, DECODER))
            for size in sizes
        ]


def main() -> None:
    """Print and publish the table."""
    parser = published.options(__doc__)
    parser.add_argument("--only", choices=("rule", "trial"), help="print the rows of one way as JSON")
    asked = parser.parse_args()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if asked.only:
        print(json.dumps(rows(device, asked.only == "trial")))
        return
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "one core of the CPU"
    ways = ("rule", "trial") if device.type == "cuda" else ("rule",)
    published.publish(
        asked.out,
        "convolution",
        "Forms of SVD-XT's convolutions",
        f"Median of 5, {where}. Temporal ones have (3, 1, 1) kernels, spatial ones (3, 3); on a CPU a part of the "
        "frames, as many operations as the table says. Frames lie as each form wants them: what turning them over "
        "takes elsewhere is not in it, what cuDNN turns over inside is.",
        [line for way in ways for line in published.in_a_process(str(Path(__file__)), "--only", way)],
    )


if __name__ == "__main__":
    main()
