"""LoRA added into the UNet's weights as they are loaded, before any strategy: each of them works as without.

A weight becomes W + scale · Σ weight · factor · (up · down), summed in float32 on the CPU and rounded once, so that a
pipeline whose scale is changed later equals one that is loaded with it, to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from safetensors import safe_open
from torch import Tensor

from svdsweep.models.lora import Adapter


@dataclass
class _Layer:
    """A layer whose weight is changed: what it was loaded as, and the factors of what is added."""

    module: Any
    base: Tensor
    factors: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)
    """`down` (rank, in), `up` (out, rank), and what their product is multiplied by."""

    def at(self, scale: float) -> Tensor:
        """The weight with this much of the LoRA; its own at 0."""
        if scale == 0:
            return self.base
        added = sum(scale * by * (up.float() @ down.float()) for down, up, by in self.factors)
        assert isinstance(added, Tensor)
        return (self.base.float() + added.view(self.base.shape)).to(self.base.dtype)


class Fused:
    """The LoRA in a UNet's weights, and how much of it."""

    def __init__(self, unet: Any, adapters: Sequence[Adapter], scale: float) -> None:
        self.scale = scale
        self.rank = "+".join(adapter.rank for adapter in adapters)
        layers: dict[str, _Layer] = {}
        for adapter in adapters:
            with safe_open(adapter.file, framework="pt") as file:
                for name, pair in adapter.pairs.items():
                    module = unet.get_submodule(name)
                    layer = layers.setdefault(name, _Layer(module, module.weight.data))
                    down, up = file.get_tensor(pair.down).flatten(1), file.get_tensor(pair.up).flatten(1)
                    factor = pair.factor
                    if pair.alpha:
                        factor = float(file.get_tensor(pair.alpha)) / pair.rank
                    layer.factors.append((down, up, adapter.weight * factor))
        self.layers = list(layers.values())
        for layer in self.layers:
            fresh = layer.at(scale)
            layer.module.weight.data = fresh.clone() if fresh is layer.base else fresh

    def set(self, scale: float) -> None:
        """Write the weights of another scale over those in place, wherever they are: for strategies under which they
        stay as they were loaded (`keeps_unet_weights`)."""
        if scale != self.scale:
            for layer in self.layers:
                layer.module.weight.data.copy_(layer.at(scale))
            self.scale = scale
