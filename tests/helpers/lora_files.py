"""A LoRA of the embedded UNet in the names of each trainer, written by the inverse of what reads them."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from svdsweep.models.architectures import architecture
from svdsweep.models.original import UNET, origins
from svdsweep.models.tensors import expected

CONFIG = architecture("tiny").unet
SHAPES = expected("unet", CONFIG)
ATTENTION = tuple(
    name.removesuffix(".weight")
    for name in SHAPES
    if name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"))
)
CONVOLUTIONS = tuple(name.removesuffix(".weight") for name, shape in SHAPES.items() if len(shape) > 3)
RANK = 4
ORIGINAL = {
    name.removesuffix(".weight"): origin.name.removeprefix(UNET).removesuffix(".weight")
    for name, origin in origins("unet", CONFIG, ()).items()
}
Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]
Tensors = dict[str, torch.Tensor]


def factors(layers: tuple[str, ...] = ATTENTION, rank: int = RANK, seed: int = 0) -> Factors:
    """`down` (rank, in, …) and `up` (out, rank, …) of each layer."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for layer in layers:
        out, *into = SHAPES[f"{layer}.weight"]
        ones = [1] * (len(into) - 1)
        down = torch.randn(rank, *into, generator=generator) * 0.05
        found[layer] = down, torch.randn(out, rank, *ones, generator=generator) * 0.05
    return found


def diffusers(of: Factors) -> Tensors:
    return _named(of, "unet.{}.lora_A.weight", "unet.{}.lora_B.weight")


def diffusers_older(of: Factors) -> Tensors:
    return _named(of, "unet.{}.lora.down.weight", "unet.{}.lora.up.weight")


def diffusers_oldest(of: Factors) -> Tensors:
    named = _named(of, "{}_lora.down.weight", "{}_lora.up.weight")
    return {
        name.replace(".to_", ".processor.to_").replace("to_out.0", "to_out"): t for name, t in named.items()
    }


def peft(of: Factors) -> Tensors:
    return _named(of, "base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight")


def peft_in_training(of: Factors) -> Tensors:
    return _named(of, "{}.lora_A.default.weight", "{}.lora_B.default.weight")


def kohya(of: Factors) -> Tensors:
    return _kohya({layer: layer for layer in of}, of)


def kohya_of_the_original(of: Factors) -> Tensors:
    return _kohya(ORIGINAL, of)


def comfyui(of: Factors) -> Tensors:
    own = {ORIGINAL[layer]: pair for layer, pair in of.items()}
    return _named(own, "diffusion_model.{}.lora_down.weight", "diffusion_model.{}.lora_up.weight")


FORMATS: tuple[Callable[[Factors], Tensors], ...] = (
    diffusers,
    diffusers_older,
    diffusers_oldest,
    peft,
    peft_in_training,
    kohya,
    kohya_of_the_original,
    comfyui,
)


def written(path: Path, tensors: Tensors, metadata: dict[str, object] | None = None) -> Path:
    """A file with these tensors and, as diffusers does it, peft's settings in its header."""
    header = {"lora_adapter_metadata": json.dumps(metadata)} if metadata else None
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, header)
    return path


def _named(of: Factors, down: str, up: str) -> Tensors:
    return {
        name.format(layer): tensor
        for layer, pair in of.items()
        for name, tensor in zip((down, up), pair, strict=True)
    }


def _kohya(names: dict[str, str], of: Factors) -> Tensors:
    plain = {names[layer].replace(".", "_"): pair for layer, pair in of.items()}
    alphas = {f"lora_unet_{name}.alpha": torch.tensor(float(RANK)) for name in plain}
    return _named(plain, "lora_unet_{}.lora_down.weight", "lora_unet_{}.lora_up.weight") | alphas
