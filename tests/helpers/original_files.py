"""A pipeline as one file in Stability's layout, written by the table that reads it, or the file's header alone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from svdsweep.models.architectures import Architecture
from svdsweep.models.headers import BYTES
from svdsweep.models.layout import WEIGHTS
from svdsweep.models.original import IMAGE_ENCODER, OWN_ENCODER, VAE, Origin, origins
from svdsweep.models.tensors import Shape

BESIDE: dict[str, Shape] = {
    "conditioner.embedders.0.open_clip.model.logit_scale": (),
    "conditioner.embedders.0.open_clip.model.token_embedding.weight": (5, 4),
    "model_ema.decay": (),
    f"{OWN_ENCODER}decoder.conv_in.weight": (4, 4, 3, 3),
    f"{OWN_ENCODER}post_quant_conv.weight": (4, 4, 1, 1),
    f"{VAE}encoder.conv_in.weight": (4, 3, 3, 3),
}
"""Some of what Stability's files hold beside the networks."""


def table(shape: Architecture, comfyui: bool = False) -> dict[str, dict[str, Origin]]:
    """Where each network's tensors lie in a file of Stability's, or of ComfyUI's."""
    sign = f"{IMAGE_ENCODER}visual_projection.weight" if comfyui else f"{OWN_ENCODER}encoder.conv_in.weight"
    return {part: origins(part, getattr(shape, part), {sign}) for part in WEIGHTS}


def shapes(shape: Architecture, comfyui: bool = False) -> dict[str, Shape]:
    """The shape of each tensor in such a file."""
    networks = table(shape, comfyui).values()
    return {origin.name: origin.shape for found in networks for origin in found.values()}


def written(
    path: Path, networks: Mapping[str, torch.nn.Module], shape: Architecture, comfyui: bool = False
) -> Path:
    """Write the networks by their names into one file, as Stability did or as ComfyUI saves a checkpoint (whose VAE has
    no `quant_conv`: it is left out)."""
    tensors = {} if comfyui else {name: torch.zeros(size) for name, size in BESIDE.items()}
    for part, found in table(shape, comfyui).items():
        own = networks[part].state_dict()
        thirds: dict[str, dict[int, torch.Tensor]] = {}
        for name, origin in found.items():
            if origin.third is not None:
                thirds.setdefault(origin.name, {})[origin.third] = own[name]
            else:
                whole = own[name].t() if origin.transposed else own[name]
                tensors[origin.name] = whole.reshape(origin.shape).contiguous()
        tensors |= {name: torch.cat([third[i] for i in range(3)]) for name, third in thirds.items()}
    save_file(tensors, path)
    return path


def hollow(path: Path, tensors: Mapping[str, Shape], dtype: str = "F16") -> Path:
    """A safetensors file with these shapes and nothing but zeros, which take no room on most disks."""
    header, at = {}, 0
    for name, shape in tensors.items():
        end = at + BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    return path
