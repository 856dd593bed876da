"""Each device as torch sees it: memory, attention kernels that really run, the compiler, and its rates."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from svdsweep.commands.doctor import rates
from svdsweep.commands.doctor.finding import Finding

GIB = 2**30
HEADS, TOKENS, HEAD_SIZE = 5, 1024, 64
"""Of SVD's attention at its finest level, with fewer tokens."""


def examine(measured: bool) -> list[Finding]:
    """Every GPU that torch sees, or the CPU; `measured` adds the compiler, bandwidth and rate."""
    try:
        import torch
    except ImportError as e:
        return [
            Finding("torch", "trouble", f"cannot be imported ({e})", "install PyTorch for your platform anew")
        ]
    found = [build(torch)]
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else ["cpu"]
    for name in names:
        device = torch.device(name)
        found += [memory(torch, device), *attention(torch, device), *convolution(torch, device)]
        if measured:
            found += [compiler(torch, device), *rates.examine(torch, device)]
    return found


def build(torch: Any) -> Finding:
    """Whether this build of torch fits the GPUs that the driver lists."""
    from svdsweep.probes.devices import installed

    there = bool(installed())
    if torch.cuda.is_available():
        return Finding("CUDA", "ok", f"torch {torch.__version__} for CUDA {torch.version.cuda}")
    if not there:
        return Finding("CUDA", "note", f"torch {torch.__version__} sees no GPU, and there is none")
    if torch.version.cuda is None:
        return Finding(
            "CUDA", "trouble", f"there is a GPU, but torch {torch.__version__} is built for the CPU",
            "install the build of PyTorch for CUDA",
        )  # fmt: skip
    return Finding(
        "CUDA", "trouble", f"torch is built for CUDA {torch.version.cuda} and cannot use the GPU",
        "update the NVIDIA driver to one for that CUDA, or install a build of PyTorch for an older CUDA",
    )  # fmt: skip


def memory(torch: Any, device: Any) -> Finding:
    """Name and free memory of a GPU."""
    if device.type == "cpu":
        return Finding(
            "device", "note", f"the CPU, {torch.get_num_threads()} threads: VRAM cannot be measured"
        )
    try:
        free, total = (b / GIB for b in torch.cuda.mem_get_info(device))
    except RuntimeError as e:
        return Finding(
            f"{device}",
            "trouble",
            f"cannot be used ({_line(e)})",
            "another process may hold it exclusively: nvidia-smi",
        )
    name = torch.cuda.get_device_properties(device).name
    text = f"{name}, {free:.1f} of {total:.1f} GiB free"
    if free < 0.9 * total:
        cure = "end the other processes on it (nvidia-smi lists them): they change peaks and times"
        return Finding(f"{device}", "trouble", text, cure, free)
    return Finding(f"{device}", "ok", text, value=free)


def attention(torch: Any, device: Any) -> list[Finding]:
    """Every kernel, tried on a product of SVD's size."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    dtype = torch.float16 if device.type == "cuda" else torch.float32
    q = torch.randn(1, HEADS, TOKENS, HEAD_SIZE, device=device, dtype=dtype)
    kernels = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "math": SDPBackend.MATH,
    }

    def with_kernel(kernel: Any) -> Callable[[], Any]:
        def run() -> Any:
            with sdpa_kernel(kernel):
                return torch.nn.functional.scaled_dot_product_attention(q, q, q)

        return run

    tried = {name: _tried(torch, device, with_kernel(kernel)) for name, kernel in kernels.items()}
    if importlib.util.find_spec("xformers"):
        tried["xformers"] = _tried(torch, device, lambda: _xformers(q))
    if importlib.util.find_spec("sageattention"):
        tried["sage"] = _tried(torch, device, lambda: _sage(q))
    works = [name for name, why in tried.items() if why is None]
    found = [Finding(f"attention, {device}", "ok", f"{dtype}: {', '.join(works)} work")]
    if device.type == "cuda" and not {"flash", "efficient", "cudnn"} & set(works):
        found = [
            Finding(
                f"attention, {device}", "trouble", "no fused kernel works: SVD's attention scores need some 40 GiB",
                "install a build of PyTorch that supports this GPU, or xformers with attention=xformers",
            )
        ]  # fmt: skip
    found += [
        Finding(f"attention={name}, {device}", "note", f"does not work here ({why})")
        for name, why in tried.items()
        if why
    ]
    return found


def _xformers(q: Any) -> Any:
    x = q.transpose(1, 2).contiguous()
    return importlib.import_module("xformers.ops").memory_efficient_attention(x, x, x)


def _sage(q: Any) -> Any:
    return importlib.import_module("sageattention").sageattn(q, q, q)


def _tried(torch: Any, device: Any, run: Callable[[], Any]) -> str | None:
    """Why it does not work, or None. A kernel that cannot be had says so by a warning and a RuntimeError."""
    import warnings

    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            out = run()
            rates.wait(torch, device)
    except (RuntimeError, ImportError, NotImplementedError, ValueError, AssertionError) as e:
        return _line(e)
    return None if bool(torch.isfinite(out).all()) else "it answers with values that are not finite"


def convolution(torch: Any, device: Any) -> list[Finding]:
    """On a GPU, whether PyTorch gives 3-D convolutions in half precision to cuDNN: since 2.9 not to 9.8 to 9.14, whose
    kernels are wrong, and 2.9.0 to none from 9.8 on (github.com/pytorch/pytorch/pull/166480)."""
    if device.type != "cuda":
        return []
    release, cudnn = torch.__version__.partition("+")[0], torch.backends.cudnn.version() or 0
    numbers = tuple(int(n) for n in release.split(".")[:2])
    if numbers >= (2, 9) and cudnn >= 90800 and (cudnn < 91500 or release == "2.9.0"):
        return [
            Finding(
                f"convolution, {device}", "trouble",
                f"torch {release} computes SVD's convolutions over time in half precision without cuDNN {cudnn}: "
                "slowly, and with far more VRAM than is predicted",
                "set memory.temporal_conv2d=true, or install a PyTorch after 2.9.0 with cuDNN 9.15 or later",
            )
        ]  # fmt: skip
    return [Finding(f"convolution, {device}", "ok", f"cuDNN {cudnn}")]


def compiler(torch: Any, device: Any) -> Finding:
    """torch.compile of two lines: is there a tool-chain at all."""
    began = time.perf_counter()
    try:
        compiled = torch.compile(lambda x: (x * 2 + 1).relu().sum())
        with torch.inference_mode():
            compiled(torch.ones(64, device=device))
    except Exception as e:  # the compiler's own errors derive from nothing in common
        cure = (
            "install a C compiler (apt install g++) and Triton (it comes with PyTorch for CUDA); for musl or Windows, "
            "use WSL or a glibc image"
        )
        return Finding(f"compile, {device}", "trouble", f"torch.compile fails ({_line(e)})", cure)
    spent = time.perf_counter() - began
    return Finding(
        f"compile, {device}", "ok", f"torch.compile works, {spent:.1f} s for two lines", value=spent
    )


def _line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:160]
