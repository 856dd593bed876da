"""Trains a LoRA of the U-Net's attention on slow clips, with the losses of the whole training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from svdsweep.models.tiny import WEIGHTS, evaluate
from svdsweep.models.tiny.camera import PHOTOGRAPHS, CameraBank
from svdsweep.models.tiny.data import IMAGES
from svdsweep.models.tiny.train_unet import Denoiser, loss

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
RATE = 3e-3


class Added(nn.Module):
    """What is added to a layer's output: `up(down(x))`, nothing at first."""

    def __init__(self, layer: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.randn(rank, layer.in_features, generator=generator)
        self.down = nn.Parameter(drawn / math.sqrt(layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The output of the layer with what is added to it (a hook)."""
        return output + inputs[0] @ self.down.t() @ self.up.t()


def train(out: Path, steps: int, rank: int = 4, batch: int = 1, seed: int = 0) -> None:
    """Train for some steps and write the LoRA to the file `out`, under diffusers' names."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, pipe = Denoiser().requires_grad_(False), evaluate.load(WEIGHTS)
    model.unet.load_state_dict(pipe.unet.state_dict())
    model.image_encoder.load_state_dict(pipe.image_encoder.state_dict())
    layers: dict[str, Any] = {
        name: layer for name, layer in model.unet.named_modules() if name.endswith(LAYERS)
    }
    added = {name: Added(layer, rank, generator) for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.register_forward_hook(added[name])
    optimizer = torch.optim.Adam([p for each in added.values() for p in each.parameters()], RATE)
    bank = CameraBank([IMAGES / f"{name}.jpg" for name in PHOTOGRAPHS], seed=seed)
    for _ in range(steps):
        error, _ = loss(model, batch, generator, bank, "cpu", slow_share=1.0, slow_weight=1.0)
        torch.autograd.backward(error.mean())
        optimizer.step()
        optimizer.zero_grad()
    tensors = {f"unet.{name}.lora_A.weight": each.down.detach() for name, each in added.items()}
    tensors |= {f"unet.{name}.lora_B.weight": each.up.detach() for name, each in added.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out)
