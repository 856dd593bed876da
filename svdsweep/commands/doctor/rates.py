"""How fast a device is: matrix products, its memory, copies from the host; kept for the floor of latency."""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from svdsweep.commands.doctor.finding import Finding, note, ok, trouble

REPEATS = 7
AT_ONCE = 10
"""Operations between two looks at the clock, which cost some 10 µs each."""
GPU_SIZE, CPU_SIZE = 8192, 1024
"""Rows and columns of the matrices: so large that a product runs at the device's full rate."""
GPU_BYTES, CPU_BYTES = 2**28, 2**26
"""The size of a copy: more than any cache holds."""


def examine(torch: Any, device: Any) -> list[Finding]:
    """The rates of a device; those of a GPU are kept, in the user's cache, for `svdsweep predict --gpu here`."""
    products = matrix_rates(torch, device)
    memory_gb_s = memory_rate(torch, device)
    told = ", ".join(f"{kind} {rate:.3g}" for kind, rate in products.items())
    findings = [
        ok(f"matrix rate, {device}", f"{told} TFLOP/s", max(products.values())),
        ok(f"memory rate, {device}", f"{memory_gb_s:.3g} GB/s read and written", memory_gb_s),
    ]
    if device.type == "cpu":
        why = "no GPU here: nothing is kept for svdsweep predict --gpu here"
        return [*findings, note(f"rates, {device}", why)]
    host_gb_s = copy_rate(torch, device)
    words = f"{host_gb_s:.3g} GB/s, pinned host memory to the device"
    copies = ok(f"copy rate, {device}", words, host_gb_s)
    return [*findings, copies, _kept(torch, device, products, memory_gb_s, host_gb_s)]


def matrix_rates(torch: Any, device: Any) -> dict[str, float]:
    """TFLOP/s of dense products by kind: float16, TF32 and float32 on a GPU, float32 on the CPU."""
    if device.type == "cpu":
        return {"float32": _matrix_rate(torch, device, CPU_SIZE, torch.float32)}
    products = {"float16": _matrix_rate(torch, device, GPU_SIZE, torch.float16)}
    before = torch.get_float32_matmul_precision()
    try:
        for kind, precision in (("tf32", "high"), ("float32", "highest")):
            torch.set_float32_matmul_precision(precision)
            products[kind] = _matrix_rate(torch, device, GPU_SIZE, torch.float32)
    finally:
        torch.set_float32_matmul_precision(before)
    return products


def memory_rate(torch: Any, device: Any) -> float:
    """10^9 bytes a second that a copy within the device reads and writes."""
    count = CPU_BYTES if device.type == "cpu" else GPU_BYTES
    source = torch.zeros(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / _median_s(torch, device, lambda: target.copy_(source)) / 1e9


def copy_rate(torch: Any, device: Any) -> float:
    """10^9 bytes a second from host memory to the device, which offloading waits for; page-locked but on a Mac."""
    source = torch.zeros(GPU_BYTES, dtype=torch.uint8, pin_memory=asked(device).streams is not None)
    target = torch.empty(GPU_BYTES, dtype=torch.uint8, device=device)
    return GPU_BYTES / _median_s(torch, device, lambda: target.copy_(source, non_blocking=True)) / 1e9


def asked(device: Any) -> Any:
    """Who answers for a device (`svdsweep.backends`); imported here alone: doctor also tells of a broken torch."""
    from svdsweep.backends import backend_of

    return backend_of(device)


def _kept(torch: Any, device: Any, tflops: dict[str, float], memory_gb_s: float, host_gb_s: float) -> Finding:
    from svdsweep.predict import here
    from svdsweep.predict.gpus import Gpu
    from svdsweep.probes.environment import device_name

    gpu = Gpu(
        title=device_name(device),
        memory_gib=asked(device).facts(device)["gpu_memory_gib"],
        float16_tflops=tflops["float16"],
        tf32_tflops=tflops["tf32"],
        float32_tflops=tflops["float32"],
        memory_gb_s=memory_gb_s,
        host_gb_s=host_gb_s,
        source=f"svdsweep doctor, torch {torch.__version__}",
        kind=asked(device).kind,
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    name, path = f"rates, {device}", here.rates_file()
    if here.keep(gpu):
        return ok(name, f"kept in {path} for svdsweep predict and fit --gpu here")
    cure = "make that folder writable, or set XDG_CACHE_HOME to one that is"
    return trouble(name, f"{path} cannot be written", cure)


def _matrix_rate(torch: Any, device: Any, size: int, dtype: Any) -> float:
    a = torch.randn(size, size, device=device).to(dtype)
    return float(2 * size**3 / _median_s(torch, device, lambda: a @ a) / 1e12)


def _median_s(torch: Any, device: Any, run: Callable[[], Any]) -> float:
    """Seconds of one `run`: the median over a few rounds after one that is not counted."""
    times = 1 if device.type == "cpu" else AT_ONCE
    spent = []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            asked(device).synchronize(device)
            began = time.perf_counter()
            for _ in range(times):
                run()
            asked(device).synchronize(device)
            spent.append((time.perf_counter() - began) / times)
    return statistics.median(spent[1:])
