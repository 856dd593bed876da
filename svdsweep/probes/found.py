"""GPUs that the machine has, whoever can use them: by the PCI bus and the kernel of Linux, or Apple's. No torch."""

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from svdsweep.platforms import host

SYS = Path("/sys")
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
DISPLAY, PROCESSING = "0x03", "0x12"
"""Classes of PCI devices: graphics cards, and accelerators without a screen."""
INTEGRATED_AMD_GIB = 2.0
"""The graphics beside a processor's cores have less memory of their own; ROCm has no kernels for most of them."""
LISTS = ("usr/share/libdrm/amdgpu.ids", "usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")
ASK = """
import json, torch
module = torch.xpu if torch.version.xpu else torch.cuda
cards = [module.get_device_properties(i) for i in range(module.device_count())]
print(json.dumps([[card.name, card.total_memory / 2**30] for card in cards]))
"""


@dataclass(frozen=True)
class Card:
    """A GPU: its maker, its name as far as the system tells it, its memory (GiB), and its place on the bus."""

    maker: str
    name: str
    gib: float | None = None
    address: str = ""
    integrated: bool = False


def on_the_bus() -> list[Card]:
    """The GPUs of NVIDIA, AMD and Intel that PCI lists under Linux; empty elsewhere. In a container they are the
    host's, also those that it was not given."""
    cards = []
    for folder in sorted(SYS.glob("bus/pci/devices/*")):
        maker = VENDORS.get(_line(folder / "vendor"))
        if maker and _line(folder / "class")[:4] in (DISPLAY, PROCESSING):
            vram = _line(folder / "mem_info_vram_total")
            gib = int(vram) / 2**30 if vram.isdigit() else None
            little = maker == "AMD" and gib is not None and gib < INTEGRATED_AMD_GIB
            inside = maker == "Intel" and folder.name.startswith("0000:00:")
            cards.append(Card(maker, _name(folder, maker), gib, folder.name, little or inside))
    return cards


def for_rocm() -> list[Card]:
    """AMD's GPUs in the order in which ROCm counts them; those that have the kernel's driver for computing."""
    by_address = {card.address: card for card in on_the_bus()}
    if not (SYS.parent / "dev/kfd").exists():
        return []
    nodes = sorted(SYS.glob("class/kfd/kfd/topology/nodes/*"), key=lambda p: int(p.name))
    cards = []
    for facts in (dict(re.findall(r"(\w+) (\d+)", _text(node / "properties"))) for node in nodes):
        if int(facts.get("simd_count", 0)):
            place = int(facts.get("location_id", 0))
            domain = int(facts.get("domain", 0))
            address = f"{domain:04x}:{place >> 8:02x}:{place >> 3 & 31:02x}.{place & 7}"
            cards.append(by_address.get(address, Card("AMD", "AMD GPU", address=address)))
    return cards


def for_xpu() -> list[Card]:
    """Intel's GPUs as PyTorch counts them: the cards, or else the graphics beside the processor's cores."""
    if not any((SYS.parent / "dev/dri").glob("renderD*")):
        return []
    intels = [card for card in on_the_bus() if card.maker == "Intel"]
    return [card for card in intels if not card.integrated] or intels


def apple() -> list[Card]:
    """The GPU of a Mac with a chip of Apple's, which shares the host's memory."""
    import psutil

    chip = host.gpus_chip()
    return [Card("Apple", chip, psutil.virtual_memory().total / 2**30)] if chip else []


@cache
def told_by_torch() -> list[Card]:
    """The visible GPUs as PyTorch counts them, asked of another process, which takes seconds: only for where the
    system does not list them, as under Windows and WSL."""
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        command = [sys.executable, "-c", ASK]
        told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=120)
        return [Card("", name, gib) for name, gib in json.loads(told.stdout)]
    return []


def _name(folder: Path, maker: str) -> str:
    """A card's name by the lists that Mesa and the system's tools bring, else its numbers."""
    vendor, device, revision = (
        _line(folder / part).removeprefix("0x") for part in ("vendor", "device", "revision")
    )
    amd, *others = (_text(SYS.parent / path) for path in LISTS)
    if found := re.search(rf"(?mi)^{device},\s*{revision},\s*(.+)$", amd if maker == "AMD" else ""):
        return found[1].strip()
    for text in others:
        of_vendor = re.search(rf"(?mi)^{vendor}  .*\n((?:[\t#].*\n)*)", text)
        if of_vendor and (found := re.search(rf"(?mi)^\t{device}  (.+)$", of_vendor[1])):
            inner = re.search(r"\[(.+)\]", found[1])
            name = inner[1] if inner else found[1]
            return name if maker in name else f"{maker} {name}"
    return f"{maker} GPU ({vendor}:{device})"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _line(path: Path) -> str:
    return _text(path).strip()
