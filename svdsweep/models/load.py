"""From a model's settings to a pipeline, with weights from the hub's cache, a folder or the package, or random ones."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from safetensors import safe_open
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from svdsweep.config import Model
from svdsweep.config.adapters import NONE
from svdsweep.models.architectures import Architecture, architecture
from svdsweep.models.decoders.load import decoder_with_weights, decoder_without_weights
from svdsweep.models.decoders.locate import TEMPORAL
from svdsweep.models.fuse import Fused
from svdsweep.models.locate import adapters, judged, other_unet
from svdsweep.models.original import Origin, origins
from svdsweep.models.unet import Found

NETWORKS = {
    "unet": UNetSpatioTemporalConditionModel,
    "vae": AutoencoderKLTemporalDecoder,
    "image_encoder": CLIPVisionModelWithProjection,
}


def load_pipeline(
    model: Model, device: torch.device, drawn_on: torch.device | None = None
) -> StableVideoDiffusionPipeline:
    """The pipeline of `model` in its dtype, in inference mode, without progress bar.

    Pretrained weights wait on the host (a memory strategy decides what goes where); random ones go straight to
    `device`. They are drawn on `drawn_on` (default: `device`), whose kind decides the numbers: always name the device
    that computes, and every strategy has equal weights. Raises UserError where the weights are not on this machine."""
    dtype = getattr(torch, model.dtype)
    if model.weights == "random":
        pipe = random_pipeline(architecture(model.architecture), dtype, device, drawn_on)
    else:
        pipe = pretrained_pipeline(model, dtype)
    if model.decoder != TEMPORAL:
        pipe.vae.decoder = _other_decoder(model, pipe.vae.config.scaling_factor, device, drawn_on)
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.image_encoder):
        part.eval().requires_grad_(False)
    if model.lora != NONE:
        pipe.fused_lora = Fused(pipe.unet, adapters(model), model.lora_scale)
    return pipe


def _other_decoder(
    model: Model, scaling_factor: float, device: torch.device, drawn_on: torch.device | None
) -> torch.nn.Module:
    """What stands in the place of the temporal decoder, in the model's dtype; its random weights are drawn apart, so
    that those of the other networks are the same under every decoder. Raises UserError."""
    dtype = getattr(torch, model.dtype)
    if model.weights != "random":
        return decoder_with_weights(model, scaling_factor, dtype)
    decoder = decoder_without_weights(model.decoder, model.architecture, scaling_factor)
    fill(decoder, dtype, device, torch.Generator(drawn_on or device).manual_seed(0))
    return decoder


def pretrained_pipeline(model: Model, dtype: torch.dtype) -> StableVideoDiffusionPipeline:
    """A pipeline with the weights of its folder or single file, on the host. Raises UserError unless each tensor of
    each network is in the files: diffusers and transformers only warn, and draw what is missing at random."""
    folder, read = judged(model)
    other = other_unet(model)
    unet = {"unet": unet_from(other, dtype)} if other else {}
    if folder.is_file():
        return single_file_pipeline(folder, architecture(model.architecture), dtype, unet)
    networks = unet | {
        part: kind.from_pretrained(
            folder / part,
            variant=read.variants[part],
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
        )
        for part, kind in NETWORKS.items()
        if part not in unet
    }
    networks["image_encoder"].to(dtype=dtype)  # transformers keeps the file's own where its config names one
    return StableVideoDiffusionPipeline(
        **networks,
        scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        feature_extractor=CLIPImageProcessor.from_pretrained(folder / "feature_extractor"),
    )


def unet_from(found: Found, dtype: torch.dtype) -> UNetSpatioTemporalConditionModel:
    """A UNet that was judged, from its own files, on the host; without a second copy, as a single file is read."""
    with torch.device("meta"):
        unet = UNetSpatioTemporalConditionModel.from_config(dict(found.config))
    own = unet.state_dict()
    names = {origin.name: name for name, origin in found.origins.items()}
    weights = {}
    for path in found.files:
        with safe_open(path, framework="pt") as file:
            for stored in names.keys() & set(file.keys()):
                weights[names[stored]] = file.get_tensor(stored).view(own[names[stored]].shape).to(dtype)
    unet.load_state_dict(weights, assign=True)
    return unet


def single_file_pipeline(
    path: Path, shape: Architecture, dtype: torch.dtype, given: Mapping[str, torch.nn.Module]
) -> StableVideoDiffusionPipeline:
    """A pipeline with the weights of a single file in Stability's layout, on the host, but for networks that are
    `given`; the file was judged.

    Each tensor is a view of the mapped file, or converted from it to `dtype` by itself: no second copy ever exists."""
    networks = on_meta(shape) | dict(given)
    with safe_open(path, framework="pt") as file:
        for part, network in networks.items():
            if part in given:
                continue
            own = network.state_dict()
            weights = {
                name: _part(file.get_tensor(origin.name), origin).view(own[name].shape).to(dtype)
                for name, origin in origins(part, getattr(shape, part), set(file.keys())).items()
            }
            if (
                part == "vae" and "quant_conv.weight" not in weights
            ):  # the encoder of a file of ComfyUI's has none
                latent = 2 * shape.vae["latent_channels"]
                weights["quant_conv.weight"] = torch.eye(latent, dtype=dtype)[:, :, None, None]
                weights["quant_conv.bias"] = torch.zeros(latent, dtype=dtype)
            network.load_state_dict(weights, assign=True)
            for module in network.modules():
                _number_positions(module, torch.device("cpu"))
    return _assembled(networks, shape)


def _part(stored: torch.Tensor, origin: Origin) -> torch.Tensor:
    """A tensor of diffusers' in that of the file: a third of its rows, or transposed, or all of it as it is."""
    if origin.third is not None:
        return stored.chunk(3)[origin.third]
    return stored.t().contiguous() if origin.transposed else stored


def random_pipeline(
    shape: Architecture, dtype: torch.dtype, device: torch.device, drawn_on: torch.device | None = None
) -> StableVideoDiffusionPipeline:
    """A pipeline with weights that were never trained: right in size and speed, meaningless in pictures.

    Built on the meta device and filled on `device` from a fixed seed, tensor by tensor, so that no second copy ever
    exists. The generators of a CPU and of a GPU give different numbers; `drawn_on` (default: `device`) chooses."""
    networks = on_meta(shape)
    generator = torch.Generator(drawn_on or device).manual_seed(0)
    for network in networks.values():
        fill(network, dtype, device, generator)
    return _assembled(networks, shape)


def _assembled(networks: dict[str, torch.nn.Module], shape: Architecture) -> StableVideoDiffusionPipeline:
    """A pipeline of its networks, with the scheduler and the feature extractor of an architecture."""
    return StableVideoDiffusionPipeline(
        **networks,
        scheduler=EulerDiscreteScheduler(**shape.scheduler),
        feature_extractor=CLIPImageProcessor(**shape.feature_extractor),
    )


def on_meta(shape: Architecture) -> dict[str, torch.nn.Module]:
    """The three networks by their names in the pipeline, without storage."""
    with torch.device("meta"):
        return {
            "unet": UNetSpatioTemporalConditionModel(**shape.unet),
            "vae": AutoencoderKLTemporalDecoder(**shape.vae),
            "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**shape.image_encoder)),
        }


def fill(
    network: torch.nn.Module, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> None:
    """Give a network of the meta device real tensors on `device`: matrices as torch would draw them (uniform, bounded
    by 1 / sqrt(fan-in)), each on the generator's device; vectors 1 for a scale and 0 for a shift. Activations neither
    vanish nor overflow."""
    for module in network.modules():
        for name, old in list(module.named_parameters(recurse=False)):
            if old.dim() >= 2:
                bound = old[0].numel() ** -0.5
                new = torch.empty(old.shape, dtype=dtype, device=generator.device)
                new.uniform_(-bound, bound, generator=generator)
            else:
                new = torch.full(old.shape, 1.0 if name == "weight" else 0.0, dtype=dtype, device=device)
            module._parameters[name] = torch.nn.Parameter(new.to(device), requires_grad=False)
        _number_positions(module, device)


def _number_positions(module: torch.nn.Module, device: torch.device) -> None:
    """Give a module of the meta device its only kind of buffer, the numbers of an image encoder's positions."""
    for name, buffer in list(module.named_buffers(recurse=False)):
        if name != "position_ids":
            raise RuntimeError(f"{type(module).__name__}.{name}: an unknown buffer, which no file fills")
        module._buffers[name] = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
