"""What a safetensors file says of its tensors, and what it is where it is none; headers alone are read, no torch."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
LARGEST_HEADER = 100_000_000
"""Bytes; safetensors refuses a longer one."""
POINTER = "is a pointer of git-lfs, not the weights"
OTHERS = {
    b"version ": POINTER,
    b"PK\x03\x04": "is a pickle of torch under another name",
    b"\x80": "is a pickle under another name",
    b"GGUF": "is a GGUF file",
    b"<": "is a web page",
    b"{": "is a text in JSON",
}
"""What else lies under such a name, by how it begins; looked at where no header can be so long."""


class Damaged(Exception):
    """A file whose tensors cannot be read; the message goes on after its name (`is empty`)."""


@dataclass(frozen=True)
class Tensor:
    """One tensor as a header has it."""

    shape: tuple[int, ...]
    dtype: str
    """safetensors' word: F16, BF16, F32, …"""


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, its length held against its header. Raises Damaged and OSError."""
    size = path.stat().st_size
    with path.open("rb") as f:
        start = f.read(8)
        length = int.from_bytes(start, "little")
        if not 2 <= length <= min(size - 8, LARGEST_HEADER):
            raise Damaged(_instead(start, size))
        text = f.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        found = {name: (_tensor(entry), *entry["data_offsets"]) for name, entry in header.items()}
        ends = _end(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise Damaged("has a header that cannot be read") from e
    if (wanted := 8 + length + ends) != size:
        how = "is cut short" if size < wanted else "is longer than its header says"
        raise Damaged(f"{how} ({size:,} of {wanted:,} bytes)")
    return {name: tensor for name, (tensor, _, _) in found.items()}


def _instead(start: bytes, size: int) -> str:
    """What a file is that cannot be safetensors, from its first bytes."""
    if size == 0:
        return "is empty (0 bytes)"
    known = next((what for begin, what in OTHERS.items() if start.startswith(begin)), None)
    return known or f"is cut short or no safetensors file ({size:,} bytes)"


def _tensor(entry: dict[str, Any]) -> Tensor:
    shape = tuple(entry["shape"])
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a shape of other things than whole numbers")
    return Tensor(shape, str(entry["dtype"]))


def _end(found: dict[str, tuple[Tensor, int, int]]) -> int:
    """Where the last tensor ends, in bytes. Raises ValueError where they overlap, leave holes or have another size."""
    spans = sorted((begin, end) for _, begin, end in found.values())
    if any(last[1] != next_one[0] for last, next_one in pairwise([(0, 0), *spans])):
        raise ValueError("tensors that overlap or leave holes")
    for tensor, begin, end in found.values():
        if tensor.dtype in BYTES and end - begin != math.prod(tensor.shape) * BYTES[tensor.dtype]:
            raise ValueError("a tensor of another size than its shape says")
    return spans[-1][1] if spans else 0
