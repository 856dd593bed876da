"""Which devices the installed PyTorch was built for, read from its own file of versions: nothing is imported."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from svdsweep.platforms import host

KINDS = {"cuda": "cuda", "hip": "rocm", "xpu": "xpu"}
"""The toolkits that torch/version.py names, as kinds of devices."""
MAKERS = {
    "cuda": "CUDA",
    "rocm": "ROCm",
    "xpu": "Intel GPUs (XPU)",
    "mps": "Apple GPUs",
    "cpu": "the CPU alone",
}


@dataclass(frozen=True)
class Build:
    """`kind` of the devices (`cuda`, `rocm`, `xpu`, `mps`, `cpu`), and the release of their toolkit (`13.0`)."""

    kind: str
    toolkit: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"torch {self.version} is built for {MAKERS[self.kind]}{f' {self.toolkit}' if self.toolkit else ''}"


@cache
def torch_build() -> Build | None:
    """The build that this Python would import; None where there is none, or where its file tells nothing."""
    spec = PathFinder.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    return build_of(text)


def build_of(text: str) -> Build:
    """What the text of torch/version.py tells, on this platform."""
    told = dict(re.findall(r"^(\w+)\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE))
    version = told.get("__version__", "")
    for name, kind in KINDS.items():
        if name in told:
            return Build(kind, told[name], version)
    return Build("mps" if host.gpus_chip() else "cpu", version=version)
