"""The names in Stability's original layout, one file for all three networks, of each tensor that diffusers has.

Sources: generative-models (`sgm/modules/diffusionmodules/video_model.py`, `sgm/modules/autoencoding/temporal_ae.py`,
`scripts/sampling/configs/svd.yaml`), open_clip's VisionTransformer, diffusers' scripts/convert_svd_to_diffusers.py
(which knows the UNet alone), and ComfyUI (`comfy/clip_vision.py`, `comfy/sd.py`) for the files that it saves."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from svdsweep.models.tensors import Shape, expected

UNET = "model.diffusion_model."
VAE = "first_stage_model."
OWN_ENCODER = "conditioner.embedders.3.encoder."
"""The VAE that Stability's program encodes the picture with: the encoder that diffusers' folder has, `quant_conv` too.
A file that ComfyUI saved has `first_stage_model.encoder` alone, which goes without."""
IMAGE_ENCODER = "conditioner.embedders.0.open_clip.model.visual."
NOT_READ = re.compile(
    r"model_ema\.|conditioner\.embedders\.0\.open_clip\.model\.(?!visual\.)"
    r"|conditioner\.embedders\.3\.encoder\.(decoder|post_quant_conv)\."
    r"|conditioner\.embedders\.0\.open_clip\.model\.visual\.vision_model\.embeddings\.position_ids"
)
"""What such files hold beside the networks: means of the weights over the training, which Stability's program does not
run either, what is left of open_clip's text encoder, the decoder beside the picture's encoder."""

RESNET = (
    ("spatial_res_block.", ""),
    ("temporal_res_block.", "time_stack."),
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
)
TRANSFORMER = (
    ("temporal_transformer_blocks.", "time_stack."),
    ("time_pos_embed.linear_1.", "time_pos_embed.0."),
    ("time_pos_embed.linear_2.", "time_pos_embed.2."),
)
ENDS_OF_UNET = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
)
OF_VAE = (
    ("spatial_res_block.", ""),
    ("temporal_res_block.norm1.", "time_stack.in_layers.0."),
    ("temporal_res_block.conv1.", "time_stack.in_layers.2."),
    ("temporal_res_block.norm2.", "time_stack.out_layers.0."),
    ("temporal_res_block.conv2.", "time_stack.out_layers.3."),
    ("time_mixer.", ""),
    ("conv_shortcut.", "nin_shortcut."),
    ("conv_norm_out.", "norm_out."),
    ("time_conv_out.", "conv_out.time_mix_conv."),
    ("attentions.0.", "attn_1."),
    ("group_norm.", "norm."),
    ("to_q.", "q."),
    ("to_k.", "k."),
    ("to_v.", "v."),
    ("to_out.0.", "proj_out."),
    ("mid_block.", "mid."),
)
OF_IMAGE_ENCODER = (
    ("vision_model.embeddings.class_embedding", "class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "conv1."),
    ("vision_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("vision_model.pre_layrnorm.", "ln_pre."),
    ("vision_model.post_layernorm.", "ln_post."),
    ("visual_projection.weight", "proj"),
    ("vision_model.encoder.layers.", "transformer.resblocks."),
    ("self_attn.out_proj.", "attn.out_proj."),
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
)
IN_PROJ = re.compile(r"self_attn\.([qkv])_proj\.")
BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)")
MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)")


@dataclass(frozen=True)
class Origin:
    """Where a tensor of diffusers' lies in an original file, and in what form."""

    name: str
    shape: Shape
    """As the file has it."""
    third: int | None = None
    """Which third of the file's rows it is: open_clip keeps query, key and value in one matrix."""
    transposed: bool = False


def origins(part: str, config: Mapping[str, Any], names: Collection[str]) -> dict[str, Origin]:
    """Where each tensor of a network (`unet`, `vae`, `image_encoder`) lies in a file that holds `names`.

    `quant_conv` is left out where the file has none: the VAE's encoder then goes without, as in ComfyUI."""
    find = {"unet": _unet, "vae": _vae, "image_encoder": _image_encoder}[part]
    return find(expected(part, config), config, names)


def _unet(shapes: Mapping[str, Shape], config: Mapping[str, Any], _: Collection[str]) -> dict[str, Origin]:
    layers = config["layers_per_block"] + 1
    attending = ["CrossAttn" in kind for kind in config["up_block_types"]]
    found = {}
    for name, shape in shapes.items():
        if match := BLOCK.fullmatch(name):
            own = _of_block(match, layers, attending)
        elif match := MIDDLE.fullmatch(name):
            kind, number, rest = match.groups()
            at = 1 if kind == "attentions" else 2 * int(number)
            own = f"middle_block.{at}.{_inside(kind, rest)}"
        else:
            own = _renamed(name, ENDS_OF_UNET)
        found[name] = Origin(UNET + own, shape)
    return found


def _of_block(match: re.Match[str], layers: int, attending: list[bool]) -> str:
    """The name of a UNet's tensor in one of its blocks; the original counts resnets through, not by blocks.

    `layers` is a block's resnets on the way up, `attending` tells which of those blocks have transformers."""
    way, block, kind, number, rest = match.groups()
    first = int(block) * layers
    if kind == "downsamplers":
        return f"input_blocks.{first + layers}.0.{rest.replace('conv.', 'op.')}"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers - 1}.{1 + attending[int(block)]}.{rest}"
    at = first + int(number) + (way == "down")
    return f"{'input' if way == 'down' else 'output'}_blocks.{at}.{int(kind == 'attentions')}.{_inside(kind, rest)}"


def _inside(kind: str, rest: str) -> str:
    return _renamed(rest, TRANSFORMER if kind == "attentions" else RESNET)


def of_vae(name: str, last: int) -> str:
    """The original name of a VAE's tensor, without prefix; its blocks are numbered up to `last`."""
    own = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    own = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", own)
    own = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", own)
    own = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{last - int(m[1])}.upsample.", own)
    own = re.sub(r"mid_block\.resnets\.(\d+)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", own)
    return _renamed(own, OF_VAE)


def _vae(shapes: Mapping[str, Shape], config: Mapping[str, Any], names: Collection[str]) -> dict[str, Origin]:
    last = len(config["block_out_channels"]) - 1
    own_encoder = any(name.startswith(f"{OWN_ENCODER}encoder.") for name in names)
    encoder = OWN_ENCODER if own_encoder else VAE
    found = {}
    for name, shape in shapes.items():
        own = (VAE if name.startswith("decoder.") else encoder) + of_vae(name, last)
        pointwise = ".attn_1." in own and len(shape) == 2
        found[name] = Origin(own, (*shape, 1, 1) if pointwise else shape)
    if encoder == VAE and f"{VAE}quant_conv.weight" not in names:
        return {name: origin for name, origin in found.items() if not name.startswith("quant_conv.")}
    return found


def _image_encoder(
    shapes: Mapping[str, Shape], _: Mapping[str, Any], names: Collection[str]
) -> dict[str, Origin]:
    if f"{IMAGE_ENCODER}visual_projection.weight" in names:  # ComfyUI saves it under transformers' names
        return {name: Origin(IMAGE_ENCODER + name, shape) for name, shape in shapes.items()}
    found = {}
    for name, shape in shapes.items():
        own = IMAGE_ENCODER + _renamed(IN_PROJ.sub("attn.in_proj_", name), OF_IMAGE_ENCODER)
        if part := IN_PROJ.search(name):
            found[name] = Origin(own, (3 * shape[0], *shape[1:]), third="qkv".index(part[1]))
        elif own.endswith(".proj"):
            found[name] = Origin(own, shape[::-1], transposed=True)
        else:
            found[name] = Origin(own, shape)
    return found


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    """The name with each whole word of the table's first column replaced by that of its second, in order."""
    for ours, theirs in table:
        name = re.sub(rf"(?<![\w]){re.escape(ours)}", theirs, name)
    return name
