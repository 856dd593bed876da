"""How several LoRA are spelt as one setting: `a.safetensors:0.5+b.safetensors`."""

import re
from typing import NamedTuple

NONE = "none"
JOINED = re.compile(r"(?<=\.safetensors)\+|(?<=\.sft)\+|(?<=\d)\+")
WEIGHED = re.compile(r"(.+\.(?:safetensors|sft)):([+-]?(?:\d+\.?\d*|\.\d+))")


class Lora(NamedTuple):
    """One of the LoRA that a setting names."""

    place: str
    """File, folder or hub id."""
    weight: float
    """What stands behind its name, else 1."""


def loras(text: str) -> list[Lora]:
    """The LoRA of `model.lora`, in order; none for `none`. A `+` that follows no ending belongs to a name."""
    if text == NONE:
        return []
    found: list[Lora] = []
    kept = ""
    for piece in JOINED.split(text):
        kept = f"{kept}+{piece}" if kept else piece
        whole, weighed = kept.endswith((".safetensors", ".sft")), WEIGHED.fullmatch(kept)
        if whole or weighed:
            found.append(Lora(weighed[1], float(weighed[2])) if weighed else Lora(kept, 1.0))
            kept = ""
    return [*found, Lora(kept, 1.0)] if kept else found


def as_text(found: list[Lora]) -> str:
    """The setting that names these."""
    return "+".join(f"{place}:{weight!r}" if weight != 1 else place for place, weight in found) or NONE
