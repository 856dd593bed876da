"""A pipeline as one file in Stability's layout, written by the table that reads it turned about."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from svdsweep.models.architectures import Architecture
from svdsweep.models.original import IMAGE_ENCODER, OWN_ENCODER, VAE, origins

BESIDE = {
    "conditioner.embedders.0.open_clip.model.logit_scale": (),
    "conditioner.embedders.0.open_clip.model.token_embedding.weight": (5, 4),
    f"{OWN_ENCODER}decoder.conv_in.weight": (4, 4, 3, 3),
    f"{OWN_ENCODER}post_quant_conv.weight": (4, 4, 1, 1),
    f"{VAE}encoder.conv_in.weight": (4, 3, 3, 3),
}
"""Some of what Stability's files hold beside the networks."""


def written(
    path: Path, networks: Mapping[str, torch.nn.Module], shape: Architecture, comfyui: bool = False
) -> Path:
    """Write the networks (`unet`, `vae`, `image_encoder`) of an architecture into one file, as Stability did or as
    ComfyUI saves a checkpoint (whose VAE has no `quant_conv`: it is left out)."""
    named = (
        {f"{IMAGE_ENCODER}visual_projection.weight"} if comfyui else {f"{OWN_ENCODER}encoder.conv_in.weight"}
    )
    tensors = {} if comfyui else {name: torch.zeros(size) for name, size in BESIDE.items()}
    for part, network in networks.items():
        own = network.state_dict()
        thirds: dict[str, dict[int, torch.Tensor]] = {}
        for name, origin in origins(part, getattr(shape, part), named).items():
            if origin.third is not None:
                thirds.setdefault(origin.name, {})[origin.third] = own[name]
            else:
                whole = own[name].t() if origin.transposed else own[name]
                tensors[origin.name] = whole.reshape(origin.shape).contiguous()
        tensors |= {name: torch.cat([third[i] for i in range(3)]) for name, third in thirds.items()}
    save_file(tensors, path)
    return path
