"""The GPUs of AMD, Intel and Apple that this process may see, by the names that `devices.discover` gives them."""

import os
import re
from collections.abc import Sequence

from svdsweep.platforms import host
from svdsweep.probes import found
from svdsweep.probes.found import Card

Named = list[tuple[str, Card]]
"""Cards, each by what the variable takes that shows it to a process."""


def cards_of(kind: str) -> dict[str, Card]:
    """The visible GPUs of a kind (`rocm`, `xpu` or `mps`) by name, as in `rocm:1`; empty for every other kind."""
    if kind == "mps":
        return dict(zip(["mps"], found.apple(), strict=False))
    cards = _seen(kind) if kind in ("rocm", "xpu") else []
    real = [(token, card) for token, card in cards if not card.integrated]
    return {f"{kind}:{token}": card for token, card in real or cards}


def _seen(kind: str) -> Named:
    cards = found.for_rocm() if kind == "rocm" else found.for_xpu()
    below, above = _masks(kind)
    if cards or host.lists_gpus():
        return _masked([card for _, card in _masked(cards, below)], above)
    shown = found.told_by_torch()  # under the masks
    tokens = above.split(",") if above else map(str, range(len(shown)))
    return list(zip(map(str.strip, tokens), shown, strict=False))


def _masks(kind: str) -> tuple[str | None, str | None]:
    """What the user has set of the two variables that choose GPUs, of which the second counts what the first leaves."""
    get = os.environ.get
    if kind == "rocm":
        return get("ROCR_VISIBLE_DEVICES"), get("HIP_VISIBLE_DEVICES", get("CUDA_VISIBLE_DEVICES"))
    chosen = re.fullmatch(r"level_zero:(\d+(?:,\d+)*)", get("ONEAPI_DEVICE_SELECTOR", ""))
    return get("ZE_AFFINITY_MASK"), chosen[1] if chosen else None


def _masked(cards: Sequence[Card], mask: str | None) -> Named:
    """The cards that a mask lets through, up to the first name in it that means none."""
    seen: Named = []
    tokens = mask.split(",") if mask is not None else map(str, range(len(cards)))
    for place, token in enumerate(map(str.strip, tokens)):
        # which card bears a name of AMD's own, only ROCm knows
        number = str(place) if token.startswith("GPU-") else token.partition(".")[0]
        if not number.isdigit() or int(number) >= len(cards):
            break
        seen.append((token, cards[int(number)]))
    return seen
