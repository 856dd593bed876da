"""From a model's settings to its other decoder, in the place of the temporal one."""

from collections.abc import Mapping
from typing import Any

import torch
from safetensors import safe_open

from svdsweep.config import Model
from svdsweep.models.decoders.layout import config_of
from svdsweep.models.decoders.locate import judged_decoder
from svdsweep.models.decoders.networks import NETWORKS, FrameByFrame


def decoder_with_weights(model: Model, scaling_factor: float, dtype: torch.dtype) -> FrameByFrame:
    """The decoder of a model with the weights of its file, on the host, in `dtype`; `scaling_factor` is the VAE's.
    Raises UserError where they are not to be had."""
    found = judged_decoder(model)
    decoder = _on_meta(model.decoder, found.config, scaling_factor)
    own = decoder.network.state_dict()
    with safe_open(found.file, framework="pt") as file:
        weights = {
            name: file.get_tensor(stored).view(own[name].shape).to(dtype)
            for name, stored in found.names.items()
        }
    decoder.network.load_state_dict(weights, assign=True)
    return decoder


def decoder_without_weights(name: str, architecture: str, scaling_factor: float) -> FrameByFrame:
    """The decoder of that name for an architecture's latents, on the meta device."""
    return _on_meta(name, config_of(name, architecture), scaling_factor)


def _on_meta(name: str, config: Mapping[str, Any], scaling_factor: float) -> FrameByFrame:
    """TAESD's networks take latents as the UNet makes them; Stable Diffusion's takes them unscaled, as its VAE does."""
    gain = 1.0 if name == "image" else scaling_factor / config["scaling_factor"]
    with torch.device("meta"):
        return FrameByFrame(NETWORKS[name](config), gain)
