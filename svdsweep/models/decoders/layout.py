"""The tensors of each decoder, and their names in the files that there are of it; without torch.

Sources: diffusers' AutoencoderKL and AutoencoderTiny, taesd.py and taesdv.py of github.com/madebyollin (MIT)."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from svdsweep.models.architectures import TINY
from svdsweep.models.original import VAE, of_vae
from svdsweep.models.tensors import IMAGE_DECODER, Shape, expected

TINY_DECODERS = TINY.parent / "decoders"
BLOCKS = (3, 3, 3, 1)
PUBLISHED: dict[str, Mapping[str, Any]] = {
    "image": {**IMAGE_DECODER, "scaling_factor": 0.18215},
    "taesd": {
        "latent_channels": 4,
        "decoder_block_out_channels": (64,) * 4,
        "num_decoder_blocks": BLOCKS,
        "scaling_factor": 1.0,
    },
    "taesdv": {"latent_channels": 4, "width": 64, "num_decoder_blocks": BLOCKS, "scaling_factor": 1.0},
}
"""The settings of the published networks, and what a config file that leaves one out means."""
CLASSES = {"image": "AutoencoderKL", "taesd": "AutoencoderTiny"}
OLD_ATTENTION = (("to_q.", "query."), ("to_k.", "key."), ("to_v.", "value."), ("to_out.0.", "proj_attn."))
"""What diffusers called the layers of attention until 2023, as in stabilityai/sd-vae-ft-mse."""
NOT_READ = re.compile(r"(encoder|quant_conv|loss|model_ema)\.")
"""What such files hold beside a decoder."""


def config_of(name: str, architecture: str) -> Mapping[str, Any]:
    """The settings of a decoder's network for an architecture's latents (`tiny`, `svd`, `svd_xt`)."""
    if architecture != "tiny":
        return PUBLISHED[name]
    own: dict[str, Any] = json.loads((TINY_DECODERS / name / "config.json").read_text(encoding="utf-8"))
    return own


def tensors_of(name: str, config: Mapping[str, Any]) -> dict[str, Shape]:
    """The shape of each tensor of a decoder by its name in the network. Raises ValueError for settings of which no such
    network can be made."""
    try:
        return {"image": _image, "taesd": _taesd, "taesdv": _taesdv}[name](config)
    except (TypeError, KeyError, IndexError) as e:
        raise ValueError(f"its settings do not go together ({e})") from e


def lie_in(
    name: str, wanted: Collection[str], config: Mapping[str, Any], there: Collection[str]
) -> dict[str, str]:
    """By name in the network, the name of each tensor in a file that holds `there`: in the layout of which most are."""
    layouts: list[Callable[[str], str]] = [str]
    if name == "image":
        last = len(config["block_out_channels"]) - 1
        layouts += [_old, lambda own: of_vae(own, last), lambda own: VAE + of_vae(own, last)]
    if name == "taesd":
        layouts.append(_taesd_alone)
    found = [{own: spelt(own) for own in wanted} for spelt in layouts]
    held = set(there)
    return max(found, key=lambda names: len(held.intersection(names.values())))


def beside(names: Collection[str], read: Collection[str]) -> list[str]:
    """The tensors of a file that are neither read nor known to lie there; of a whole model, those of its VAE count."""
    whole = any(key.startswith(VAE) for key in read)
    own = {key for key in names if not whole or key.startswith(VAE)}
    return sorted(key for key in own - set(read) if not NOT_READ.match(key.removeprefix(VAE)))


def _old(own: str) -> str:
    for new, old in OLD_ATTENTION:
        own = own.replace(new, old)
    return own


def _taesd_alone(own: str) -> str:
    """The name in taesd_decoder.safetensors, which counts a layer for the clamp."""
    number, _, rest = own.removeprefix("decoder.layers.").partition(".")
    return f"{int(number) + 1}.{rest}"


def _image(config: Mapping[str, Any]) -> dict[str, Shape]:
    return expected("image", config)


def _taesd(config: Mapping[str, Any]) -> dict[str, Shape]:
    widths, blocks = list(config["decoder_block_out_channels"]), list(config["num_decoder_blocks"])
    found = _convolution("decoder.layers.0", widths[0], config["latent_channels"])
    at = 2
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for _ in range(count):
            found |= _block(f"decoder.layers.{at}", width, width)
            at += 1
        final = level == len(blocks) - 1
        at += not final
        found |= _convolution(f"decoder.layers.{at}", 3 if final else width, width, biased=final)
        at += 1
    return found


def _taesdv(config: Mapping[str, Any]) -> dict[str, Shape]:
    width, blocks = config["width"], list(config["num_decoder_blocks"])
    found = _convolution("decoder.1", width, config["latent_channels"])
    at = 3
    for level, count in enumerate(blocks):
        for _ in range(count):
            found |= _block(f"decoder.{at}", width, 2 * width)
            at += 1
        if level < len(blocks) - 1:
            found |= _convolution(f"decoder.{at + 1}", width, width, biased=False)
            at += 2
    return found | _convolution(f"decoder.{at}", 3, width)


def _block(name: str, width: int, into: int) -> dict[str, Shape]:
    """The three convolutions of a residual block."""
    found: dict[str, Shape] = {}
    for number, channels in zip((0, 2, 4), (into, width, width), strict=True):
        found |= _convolution(f"{name}.conv.{number}", width, channels)
    return found


def _convolution(name: str, out: int, into: int, biased: bool = True) -> dict[str, Shape]:
    weight: dict[str, Shape] = {f"{name}.weight": (out, into, 3, 3)}
    return weight | ({f"{name}.bias": (out,)} if biased else {})
