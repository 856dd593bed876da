"""What a GPU is asked before any sweep, each question in seconds, and written down as soon as it is answered.

python tests/gpu/probes.py --out FOLDER [--device 0|cpu]"""

import argparse
import functools
import json
import shutil
import statistics
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "probes.json"
Answer = dict[str, Any]


def tools(_device: Any) -> Answer:
    """What torch.compile asks of the machine."""
    return {
        "gcc": shutil.which("gcc"),
        "Python.h": (Path(sysconfig.get_path("include")) / "Python.h").exists(),
        "nvcc": shutil.which("nvcc"),
    }


def versions(device: Any) -> Answer:
    """Where all of this was measured."""
    from svdsweep.probes.environment import provenance

    return provenance(device)


def compiler(device: Any) -> Answer:
    """Seconds of a first compilation, of two lines."""
    import torch

    compiled = torch.compile(lambda x: (x * 2 + 1).relu().sum())
    began = time.perf_counter()
    compiled(torch.ones(64, device=device))
    return {"seconds": time.perf_counter() - began}


def large_convolution(device: Any) -> Answer:
    """The convolution behind the last upsampling of a whole decode, of more than 2^31 elements, in both layouts: its
    milliseconds beside those of one frame alone, and how far its first and last frame are from those computed alone."""
    import torch

    frames, channels, height, width = (25, 256, 576, 1024) if device.type == "cuda" else (3, 16, 64, 64)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    x = torch.randn(frames, channels, height, width, device=device, dtype=dtype)
    conv = torch.nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
    answer: Answer = {"elements": x.numel(), "dtype": str(dtype)}
    for name, layout in (("channels first", torch.contiguous_format), ("channels last", torch.channels_last)):
        conv.to(memory_format=layout)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=layout)
        ends = [conv(x[t : t + 1]) for t in (0, frames - 1)]
        one_ms, _ = milliseconds(functools.partial(conv, x[:1]), device)
        whole_ms, y = milliseconds(functools.partial(conv, x), device)
        answer[name] = {
            "ms": whole_ms,
            "ms of one frame times frames": one_ms * frames,
            "largest difference": [
                float((y[t] - end[0]).abs().max()) for t, end in zip((0, frames - 1), ends, strict=True)
            ],
            "largest value": float(max(end.abs().max() for end in ends)),
        }
        del y
    return answer


def attention(device: Any) -> Answer:
    """The kernels of spatial and temporal attention at SVD-XT's finest level, and which one PyTorch takes by itself."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from svdsweep.memory.measured_attention import DEFAULT, KERNELS, choose

    on_gpu = device.type == "cuda"
    shapes = {"spatial": (50, 5, 9216), "temporal": (18432, 5, 25)}
    answer: Answer = {}
    for name, (batch, heads, tokens) in shapes.items():
        part = batch if on_gpu else max(1, batch // 1000)
        q, k, v = (
            torch.randn(
                part, tokens, heads * 64, device=device, dtype=torch.float16 if on_gpu else torch.float32
            )
            .unflatten(-1, (heads, 64))
            .transpose(1, 2)
            for _ in range(3)
        )
        choice = choose(q, k, v)
        activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
        with profile(activities=[activity]) as seen:
            KERNELS[DEFAULT](q, k, v)
            if on_gpu:
                torch.cuda.synchronize(device)
        longest = max(seen.key_averages(), key=lambda e: e.device_time_total if on_gpu else e.cpu_time_total)
        answer[name] = {
            "batch": part,
            "ms": choice.ms,
            "chosen": choice.kernel,
            "default runs": longest.key[:160],
        }
    return answer


def temporal_convolution(device: Any) -> Answer:
    """A (3, 1, 1) convolution over 25 frames of the finest level: milliseconds, and GiB beyond its input and output,
    which show whether cuDNN computes it."""
    import torch

    if device.type != "cuda":
        return {"not asked": "a CPU has no cuDNN"}
    x = torch.randn(2, 320, 25, 72, 128, device=device, dtype=torch.float16)
    conv = torch.nn.Conv3d(320, 320, (3, 1, 1), padding=(1, 0, 0), device=device, dtype=torch.float16)
    conv(x)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    ms, y = milliseconds(lambda: conv(x), device)
    beyond = torch.cuda.max_memory_allocated(device) - before - y.numel() * y.element_size()
    return {"ms": ms, "workspace_gib": beyond / 2**30, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]


def driver(device: Any) -> Answer:
    """What the driver tells of a second of products, how the card is set up, and what asking costs: milliseconds to
    open it, for a look at the clocks, and for the counters of slowed-down time."""
    import dataclasses

    import torch

    from svdsweep.probes.environment import opened
    from svdsweep.probes.watch import watched

    x = torch.randn(4096 if device.type == "cuda" else 64, device=device).expand(4096, -1).contiguous()
    began = time.perf_counter()
    with watched(device) as watch:
        ended = time.perf_counter() + 1
        while time.perf_counter() < ended:
            milliseconds(lambda: x @ x.T, device, repeats=1)
    seen = watch.seen(time.perf_counter() - began)
    began = time.perf_counter()
    with opened(device) as card:
        answer: Answer = {"open ms": (time.perf_counter() - began) * 1000}
        if card is None or seen is None:
            return answer
        for name, ask in (("look ms", card.moment), ("counters ms", card.counters)):
            times = []
            for _ in range(20):
                began = time.perf_counter()
                ask()
                times.append(time.perf_counter() - began)
            answer[name] = statistics.median(times) * 1000
        state = dataclasses.asdict(card.state())
        return (
            answer
            | {"looks": len(watch.looks), "seen": dataclasses.asdict(seen), "state": state}
            | card.facts()
        )


def milliseconds(run: Callable[[], Any], device: Any, repeats: int = 5) -> tuple[float, Any]:
    """Median of `run` after one untimed call, and its last result."""
    from svdsweep.probes.stages import Clock

    clock = Clock(device)
    result = run()
    spent = []
    for _ in range(repeats):
        del result
        begin = clock.mark()
        result = run()
        end = clock.mark()
        clock.settle()
        spent.append(clock.seconds(begin, end) * 1e3)
    return statistics.median(spent), result


PROBES = (tools, versions, compiler, temporal_convolution, large_convolution, attention, driver)


def main() -> None:
    """Ask them all; one that fails says so in its place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="0")
    asked = parser.parse_args()
    began = time.perf_counter()
    import torch

    import svdsweep.worker  # noqa: F401

    answers: dict[str, Answer] = {"imports": {"seconds": time.perf_counter() - began}}
    device = torch.device("cpu") if asked.device == "cpu" else torch.device("cuda", int(asked.device))
    torch.set_num_threads(1)
    for probe in PROBES:
        began = time.perf_counter()
        try:
            with torch.inference_mode():
                answer = probe(device)
        except Exception as e:
            answer = {"failed": f"{type(e).__name__}: {e}"}
        answers[probe.__name__] = {**answer, "took_s": time.perf_counter() - began}
        print(probe.__name__, json.dumps(answers[probe.__name__]), flush=True)
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / FILE).write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
