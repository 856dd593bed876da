"""Each device as torch sees it: memory, attention kernels that really run, the compiler, and its rates."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from svdsweep.commands.doctor import rates
from svdsweep.commands.doctor.finding import Finding, note, ok, trouble

GIB = 2**30
HEADS, TOKENS, HEAD_SIZE = 5, 1024, 64
"""The sizes of SVD's attention at its finest level, with fewer tokens."""


def examine(measured: bool) -> list[Finding]:
    """Every GPU that torch sees, or the CPU; `measured` adds the compiler, bandwidth and rate."""
    try:
        import torch
    except ImportError as e:
        return [trouble("torch", f"cannot be imported ({e})", "install PyTorch for your platform anew")]
    findings = [build(torch)]
    for name in names(torch):
        device = torch.device(name)
        seen = memory(torch, device)
        findings.append(seen)
        if seen.state == "trouble" and seen.value is None:  # it cannot be used at all
            continue
        findings += [*attention(torch, device), *convolution(torch, device)]
        if measured:
            findings += [compiler(torch, device), *rates.examine(torch, device)]
    return findings


def names(torch: Any) -> list[str]:
    """The devices as torch counts them: the GPUs of its accelerator, or the CPU."""
    if torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    gpu = torch.accelerator.current_accelerator(check_available=True)
    return [f"{gpu.type}:{i}" for i in range(torch.accelerator.device_count())] if gpu else ["cpu"]


def build(torch: Any) -> Finding:
    """Whether this build of torch fits the GPUs that the driver lists."""
    from svdsweep.probes.devices import installed, torch_type, usable

    if torch.cuda.is_available() and torch.version.cuda is None:
        return ok("ROCm", f"torch {torch.__version__} for ROCm {torch.version.hip}")
    if torch.cuda.is_available():
        return ok("CUDA", f"torch {torch.__version__} for CUDA {torch.version.cuda}")
    if others := [name for name in map(torch_type, usable()) if name != "cuda"]:
        if getattr(torch, others[0]).is_available():
            return ok(others[0], f"torch {torch.__version__} sees it")
        cure = "install the GPU's driver, as pytorch.org/get-started/locally tells"
        return trouble(others[0], f"there is a GPU, and torch {torch.__version__} cannot use it", cure)
    if not installed():
        return note("CUDA", f"torch {torch.__version__} sees no GPU, and there is none")
    if torch.version.cuda is None:
        text = f"there is a GPU, but torch {torch.__version__} is built for the CPU"
        return trouble("CUDA", text, "install the build of PyTorch for CUDA")
    cure = "update the NVIDIA driver to one for that CUDA, or install a build of PyTorch for an older CUDA"
    return trouble("CUDA", f"torch is built for CUDA {torch.version.cuda} and cannot use the GPU", cure)


def memory(torch: Any, device: Any) -> Finding:
    """Name and free memory of a GPU."""
    if device.type == "cpu":
        return note("device", f"the CPU, {torch.get_num_threads()} threads: VRAM cannot be measured")
    try:
        from svdsweep.probes.environment import device_name

        free, total = (b / GIB for b in rates.asked(device).free_and_total(device))
        name = device_name(device)
    except (RuntimeError, AssertionError) as e:
        cure = "another process may hold it exclusively: nvidia-smi (NVIDIA), rocm-smi (AMD)"
        return trouble(f"{device}", f"cannot be used ({_line(e)})", cure)
    text = f"{name}, {free:.1f} of {total:.1f} GiB free"
    if free >= 0.9 * total:
        return ok(f"{device}", text, free)
    cure = "end the other processes on it (nvidia-smi or rocm-smi lists them): they change peaks and times"
    return trouble(f"{device}", text, cure, free)


def attention(torch: Any, device: Any) -> list[Finding]:
    """Every kernel, tried on a product of SVD's size."""
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    q = torch.randn(1, HEADS, TOKENS, HEAD_SIZE, device=device, dtype=dtype)
    failures = {name: _tried(torch, device, run) for name, run in _kernels(torch, q).items()}
    works = [name for name, why in failures.items() if why is None]
    finding = ok(f"attention, {device}", f"{dtype}: {', '.join(works)} work")
    if device.type == "cuda" and not {"flash", "efficient", "cudnn"} & set(works):
        text = "no fused kernel works: SVD's attention scores need some 40 GiB"
        cure = "install a build of PyTorch that supports this GPU, or xformers with attention=xformers"
        finding = trouble(f"attention, {device}", text, cure)
    lacking = [(f"attention={name}, {device}", why) for name, why in failures.items() if why]
    return [finding, *(note(name, f"does not work here ({why})") for name, why in lacking)]


def _kernels(torch: Any, q: Any) -> dict[str, Callable[[], Any]]:
    """A run of self-attention over `q` by each kernel that is installed."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def with_kernel(kernel: Any) -> Any:
        with sdpa_kernel(kernel):
            return torch.nn.functional.scaled_dot_product_attention(q, q, q)

    runs: dict[str, Callable[[], Any]] = {
        "flash": lambda: with_kernel(SDPBackend.FLASH_ATTENTION),
        "efficient": lambda: with_kernel(SDPBackend.EFFICIENT_ATTENTION),
        "cudnn": lambda: with_kernel(SDPBackend.CUDNN_ATTENTION),
        "math": lambda: with_kernel(SDPBackend.MATH),
    }
    if importlib.util.find_spec("xformers"):
        x = q.transpose(1, 2).contiguous()
        runs["xformers"] = lambda: importlib.import_module("xformers.ops").memory_efficient_attention(x, x, x)
    if importlib.util.find_spec("sageattention"):
        runs["sage"] = lambda: importlib.import_module("sageattention").sageattn(q, q, q)
    return runs


def _tried(torch: Any, device: Any, run: Callable[[], Any]) -> str | None:
    """Why it does not work, or None. A kernel that cannot be had says so by a warning and a RuntimeError."""
    import warnings

    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            out = run()
            rates.asked(device).synchronize(device)
    except (RuntimeError, ImportError, NotImplementedError, ValueError, AssertionError) as e:
        return _line(e)
    return None if bool(torch.isfinite(out).all()) else "it answers with values that are not finite"


def convolution(torch: Any, device: Any) -> list[Finding]:
    """Whether PyTorch gives 3-D convolutions in half precision to cuDNN; nothing is said of other devices.

    PyTorch from 2.9 on does not where cuDNN is 9.8 to 9.14, whose kernels are wrong, and 2.9.0 itself does not with any
    cuDNN from 9.8 on (github.com/pytorch/pytorch/pull/166480)."""
    if rates.asked(device).kind != "cuda":
        return []
    release, cudnn = torch.__version__.partition("+")[0], torch.backends.cudnn.version() or 0
    numbers = tuple(int(n) for n in release.split(".")[:2])
    if numbers >= (2, 9) and cudnn >= 90800 and (cudnn < 91500 or release == "2.9.0"):
        text = (
            f"torch {release} computes SVD's convolutions over time in half precision without cuDNN {cudnn}: "
            "slowly, and with far more VRAM than is predicted"
        )
        cure = "set memory.temporal_conv2d=true, or install a PyTorch after 2.9.0 with cuDNN 9.15 or later"
        return [trouble(f"convolution, {device}", text, cure)]
    return [ok(f"convolution, {device}", f"cuDNN {cudnn}")]


def compiler(torch: Any, device: Any) -> Finding:
    """Whether torch.compile finds a tool-chain: it is tried on two lines."""
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
        return trouble(f"compile, {device}", f"torch.compile fails ({_line(e)})", cure)
    spent = time.perf_counter() - began
    return ok(f"compile, {device}", f"torch.compile works, {spent:.1f} s for two lines", spent)


def _line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:160]
