"""Whether a model's networks have the sizes that memory and time are predicted for; without torch."""

from typing import Any

from svdsweep.config import Model
from svdsweep.models.architectures import architecture
from svdsweep.models.unet import Configs

NAMES = ("tiny", "svd_xt", "svd")
SIZES = ("block_out_channels", "layers_per_block", "cross_attention_dim", "num_attention_heads")
"""What the numbers of parameters and of operations follow from, by its name in the configs of the networks."""


def doubts(configs: Configs, model: Model) -> list[str]:
    """A sentence where the UNet or VAE of a model differs in size from those of `model.architecture`."""
    there = {part: configs[part] for part in ("unet", "vae") if part in configs}
    if not (difference := _difference(there, model.architecture)):
        return []
    fitting = next((name for name in NAMES if not _difference(there, name)), None)
    cure = (
        f"Its own sizes: model={fitting} model.source={model.source}"
        if fitting
        else "No other fits it either"
    )
    asked = f"model.architecture={model.architecture}"
    return [
        f"model.source={model.source}: {difference} of {asked}, for which memory and time are predicted. {cure}."
    ]


def _difference(there: Configs, name: str) -> str:
    """The first difference of networks from an architecture of that name; empty where there is none."""
    sizes = architecture(name)
    for part, config in there.items():
        own = getattr(sizes, part)
        for key in SIZES:
            if (
                key in config
                and key in own
                and (mine := _listed(config[key])) != (theirs := _listed(own[key]))
            ):
                return f"its {part} has {key} {mine}, not the {theirs}"
    return ""


def _listed(size: Any) -> str:
    return "-".join(map(str, size)) if isinstance(size, list | tuple) else str(size)
