"""Which tensors the three networks of a pipeline have, and of what shape, by their config files; without torch.

Names and shapes are those of diffusers and transformers, against whose own networks they are tested. diffusers leaves
a tensor that a file lacks without storage and transformers draws it at random, both with a warning alone."""

from collections.abc import Mapping
from typing import Any

from svdsweep.models.architectures import UNET

Shape = tuple[int, ...]
Tree = dict[Any, Any]
"""Shapes by name or number, nested as the modules are."""
Config = Mapping[str, Any]

VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "block_out_channels": (64,),
}
IMAGE_ENCODER = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
SIZES = {name: default for name, default in UNET.items() if name != "sample_size"}
IMAGE_DECODER = {"latent_channels": 4, "layers_per_block": 2, "block_out_channels": (128, 256, 512, 512)}
DEFAULTS: dict[str, Config] = {
    "unet": SIZES,
    "vae": VAE,
    "image_encoder": IMAGE_ENCODER,
    "image": IMAGE_DECODER,
}
"""What diffusers and transformers take where a config file leaves a size out."""
SPATIAL, TEMPORAL = (3, 3), (3, 1, 1)


def sizes(part: str, config: Config) -> dict[str, Any]:
    """The settings of a network with its class's defaults. Raises ValueError for sizes that are no positive numbers."""
    settings = {**DEFAULTS[part], **config}
    for name in DEFAULTS[part]:
        value = settings[name]
        for size in value if isinstance(value, list | tuple) else [value]:
            if not (isinstance(size, str) if name.endswith("_types") else type(size) is int and size > 0):
                raise ValueError(f"{name}={value!r} is no size of such a network")
    return settings


def expected(part: str, config: Config) -> dict[str, Shape]:
    """The shape of each tensor of a network (`unet`, `vae`, `image_encoder`, or the decoder of Stable Diffusion's VAE,
    `image`) with this config, by its name in the file.

    Raises ValueError for settings of which no such network can be made."""
    build = {"unet": _unet, "vae": _vae, "image_encoder": _image_encoder, "image": _image_decoder}[part]
    try:
        return dict(_flat(build(sizes(part, config))))
    except (TypeError, IndexError, KeyError, AttributeError) as e:
        raise ValueError(f"its settings do not go together ({e})") from e


def _unet(c: Config) -> Tree:
    channels = list(c["block_out_channels"])
    time, middle = channels[0] * 4, channels[-1]
    layers, crossing, depths, heads = (
        _each(c[name], len(channels))
        for name in (
            "layers_per_block",
            "cross_attention_dim",
            "transformer_layers_per_block",
            "num_attention_heads",
        )
    )
    if any(width % n for width, n in zip(channels, heads, strict=True)):
        raise ValueError(f"{heads} num_attention_heads do not divide {channels} block_out_channels")
    transformers = [_transformer(*each) for each in zip(channels, crossing, depths, strict=True)]
    return {
        "conv_in": _layer(channels[0], c["in_channels"], *SPATIAL),
        "time_embedding": _two_layers(channels[0], time, time),
        "add_embedding": _two_layers(c["projection_class_embeddings_input_dim"], time, time),
        "down_blocks": _down(channels, layers, transformers, _crossing(c, "Down")),
        "mid_block": {
            "resnets": {j: _both(middle, middle, time) for j in range(2)},
            "attentions": {0: transformers[-1]},
        },
        "up_blocks": _up(channels, layers, transformers, _crossing(c, "Up")),
        "conv_norm_out": _norm(channels[0]),
        "conv_out": _layer(c["out_channels"], channels[0], *SPATIAL),
    }


def _down(channels: list[int], layers: list[int], transformers: list[Tree], crossing: list[bool]) -> Tree:
    """The UNet's blocks on the way down, each with `layers` resnets and, where `crossing`, a transformer after each."""
    blocks: Tree = {}
    time = channels[0] * 4
    for i, (into, out) in enumerate(zip([channels[0], *channels], channels, strict=False)):
        resnets = [_both(into if j == 0 else out, out, time) for j in range(layers[i])]
        blocks[i] = _block(resnets, transformers[i] if crossing[i] else None)
        if i < len(channels) - 1:
            blocks[i]["downsamplers"] = {0: {"conv": _layer(out, out, *SPATIAL)}}
    return blocks


def _up(channels: list[int], layers: list[int], transformers: list[Tree], crossing: list[bool]) -> Tree:
    """The UNet's blocks on the way up: one resnet more each, which take in what the way down left for them."""
    blocks: Tree = {}
    time = channels[0] * 4
    for i, at in enumerate(reversed(range(len(channels)))):
        out, before, skipped = channels[at], channels[at + 1 :][:1], channels[max(at - 1, 0)]
        into = [*(before or [out]), *[out] * layers[at]]
        beside = [*[out] * layers[at], skipped]
        resnets = [_both(a + b, out, time) for a, b in zip(into, beside, strict=True)]
        blocks[i] = _block(resnets, transformers[at] if crossing[i] else None)
        if at > 0:
            blocks[i]["upsamplers"] = {0: {"conv": _layer(out, out, *SPATIAL)}}
    return blocks


def _vae(c: Config) -> Tree:
    channels, latent, layers = list(c["block_out_channels"]), c["latent_channels"], c["layers_per_block"]
    last, blocks = channels[-1], len(channels)
    down, up = {}, {}
    for i, (into, out) in enumerate(zip([channels[0], *channels], channels, strict=False)):
        down[i] = _block([_resnet(into if j == 0 else out, out) for j in range(layers)])
        if i < blocks - 1:
            down[i]["downsamplers"] = {0: {"conv": _layer(out, out, *SPATIAL)}}
    backwards = channels[::-1]
    for i, (into, out) in enumerate(zip([last, *backwards], backwards, strict=False)):
        up[i] = _block([_both(into if j == 0 else out, out) for j in range(layers + 1)])
        if i < blocks - 1:
            up[i]["upsamplers"] = {0: {"conv": _layer(out, out, *SPATIAL)}}
    attentions = {0: {"group_norm": _norm(last), **_attention(last, biased=True)}}
    encoder = {
        "conv_in": _layer(channels[0], c["in_channels"], *SPATIAL),
        "down_blocks": down,
        "mid_block": {"resnets": {j: _resnet(last, last) for j in range(2)}, "attentions": attentions},
        "conv_norm_out": _norm(last),
        "conv_out": _layer(2 * latent, last, *SPATIAL),
    }
    out = c["out_channels"]
    decoder = {
        "conv_in": _layer(last, latent, *SPATIAL),
        "mid_block": {"resnets": {j: _both(last, last) for j in range(layers)}, "attentions": attentions},
        "up_blocks": up,
        "conv_norm_out": _norm(channels[0]),
        "conv_out": _layer(out, channels[0], *SPATIAL),
        "time_conv_out": _layer(out, out, *TEMPORAL),
    }
    return {"encoder": encoder, "decoder": decoder, "quant_conv": _layer(2 * latent, 2 * latent, 1, 1)}


def _image_decoder(c: Config) -> Tree:
    """The decoder of Stable Diffusion's VAE: that of `_vae` without time, with the layer before it."""
    backwards, latent, layers = (
        list(c["block_out_channels"])[::-1],
        c["latent_channels"],
        c["layers_per_block"],
    )
    first, up = backwards[0], {}
    for i, (into, out) in enumerate(zip([first, *backwards], backwards, strict=False)):
        up[i] = _block([_resnet(into if j == 0 else out, out) for j in range(layers + 1)])
        if i < len(backwards) - 1:
            up[i]["upsamplers"] = {0: {"conv": _layer(out, out, *SPATIAL)}}
    attentions = {0: {"group_norm": _norm(first), **_attention(first, biased=True)}}
    decoder = {
        "conv_in": _layer(first, latent, *SPATIAL),
        "up_blocks": up,
        "mid_block": {"attentions": attentions, "resnets": {j: _resnet(first, first) for j in range(2)}},
        "conv_norm_out": _norm(backwards[-1]),
        "conv_out": _layer(3, backwards[-1], *SPATIAL),
    }
    return {"post_quant_conv": _layer(latent, latent, 1, 1), "decoder": decoder}


def _image_encoder(c: Config) -> Tree:
    width, inner, patch = c["hidden_size"], c["intermediate_size"], c["patch_size"]
    layer = {
        "self_attn": {name: _layer(width, width) for name in ("k_proj", "v_proj", "q_proj", "out_proj")},
        "layer_norm1": _norm(width),
        "mlp": {"fc1": _layer(inner, width), "fc2": _layer(width, inner)},
        "layer_norm2": _norm(width),
    }
    embeddings = {
        "class_embedding": (width,),
        "patch_embedding": {"weight": (width, c["num_channels"], patch, patch)},
        "position_embedding": {"weight": ((c["image_size"] // patch) ** 2 + 1, width)},
    }
    model = {
        "embeddings": embeddings,
        "pre_layrnorm": _norm(width),
        "encoder": {"layers": dict.fromkeys(range(c["num_hidden_layers"]), layer)},
        "post_layernorm": _norm(width),
    }
    return {"vision_model": model, "visual_projection": {"weight": (c["projection_dim"], width)}}


def _layer(out: int, *into: int) -> Tree:
    return {"weight": (out, *into), "bias": (out,)}


def _norm(width: int) -> Tree:
    return {"weight": (width,), "bias": (width,)}


def _two_layers(into: int, inner: int, out: int) -> Tree:
    return {"linear_1": _layer(inner, into), "linear_2": _layer(out, inner)}


def _block(resnets: list[Tree], attention: Tree | None = None) -> Tree:
    """A block of resnets, with a transformer after each where it has any."""
    block: Tree = {"resnets": dict(enumerate(resnets))}
    if attention:
        block["attentions"] = dict.fromkeys(range(len(resnets)), attention)
    return block


def _both(into: int, out: int, time: int | None = None) -> Tree:
    """A resnet over each frame and one over time, mixed."""
    spatial, temporal = _resnet(into, out, time), _resnet(out, out, time, TEMPORAL)
    mixer = {"mix_factor": (1,)}
    return {"spatial_res_block": spatial, "temporal_res_block": temporal, "time_mixer": mixer}


def _resnet(into: int, out: int, time: int | None = None, kernel: Shape = SPATIAL) -> Tree:
    tree = {"norm1": _norm(into), "conv1": _layer(out, into, *kernel)}
    tree |= {"norm2": _norm(out), "conv2": _layer(out, out, *kernel)}
    if time:
        tree["time_emb_proj"] = _layer(out, time)
    if into != out:
        tree["conv_shortcut"] = _layer(out, into, 1, 1)
    return tree


def _transformer(width: int, crossing: int, depth: int) -> Tree:
    """Transformer blocks over each frame and over time, between two projections."""
    feed_forward = {"net": {0: {"proj": _layer(8 * width, width)}, 2: _layer(width, 4 * width)}}
    block = {
        **{f"norm{i}": _norm(width) for i in (1, 2, 3)},
        "attn1": _attention(width),
        "attn2": _attention(width, crossing),
        "ff": feed_forward,
    }
    over_time = {**block, "norm_in": _norm(width), "ff_in": feed_forward}
    return {
        "norm": _norm(width),
        "proj_in": _layer(width, width),
        "transformer_blocks": dict.fromkeys(range(depth), block),
        "temporal_transformer_blocks": dict.fromkeys(range(depth), over_time),
        "time_pos_embed": _two_layers(width, 4 * width, width),
        "time_mixer": {"mix_factor": (1,)},
        "proj_out": _layer(width, width),
    }


def _attention(width: int, crossing: int | None = None, biased: bool = False) -> Tree:
    widths = {"to_q": width, "to_k": crossing or width, "to_v": crossing or width}
    tree: Tree = {name: _layer(width, n) if biased else {"weight": (width, n)} for name, n in widths.items()}
    return {**tree, "to_out": {0: _layer(width, width)}}


def _each(value: Any, blocks: int) -> list[int]:
    """One number for each block; a single one holds for all. Raises ValueError."""
    values = [value] * blocks if isinstance(value, int) else list(value)
    if len(values) != blocks:
        raise ValueError(f"{len(values)} numbers for {blocks} blocks")
    return values


def _crossing(c: Config, way: str) -> list[bool]:
    """Whether each block of the UNet has transformers. Raises ValueError for kinds of blocks that SVD has not."""
    name = f"{way.lower()}_block_types"
    plain, crossing = f"{way}BlockSpatioTemporal", f"CrossAttn{way}BlockSpatioTemporal"
    types = list(c[name])
    if len(types) != len(c["block_out_channels"]):
        raise ValueError(f"{name} has {len(types)} entries for {len(c['block_out_channels'])} blocks")
    if strange := [kind for kind in types if kind not in (plain, crossing)]:
        raise ValueError(f"{name} names {strange[0]}, where SVD has {plain} and {crossing}")
    return [kind == crossing for kind in types]


def _flat(tree: Tree, prefix: str = "") -> list[tuple[str, Shape]]:
    """Name and shape of each leaf, names joined by dots."""
    leaves: list[tuple[str, Shape]] = []
    for name, value in tree.items():
        full = f"{prefix}{name}"
        leaves += _flat(value, f"{full}.") if isinstance(value, dict) else [(full, value)]
    return leaves
