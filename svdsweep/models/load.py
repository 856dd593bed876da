"""From a model's settings to a pipeline, with weights from the hub's cache, a folder or the package, or random ones."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from svdsweep.config import Model
from svdsweep.models.architectures import Architecture, svd
from svdsweep.models.locate import TINY, judged

NETWORKS = {
    "unet": UNetSpatioTemporalConditionModel,
    "vae": AutoencoderKLTemporalDecoder,
    "image_encoder": CLIPVisionModelWithProjection,
}
NOT_SIZES = (
    *("architectures", "dtype", "torch_dtype"),
    *("model_type", "transformers_version", "image_processor_type"),
)
"""What the config files of transformers hold beside the arguments of a network."""


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
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.image_encoder):
        part.eval().requires_grad_(False)
    return pipe


def architecture(name: str) -> Architecture:
    """`svd`, `svd_xt`, or `tiny` (the embedded model's, read from its own config files)."""
    if name != "tiny":
        return svd(num_frames=25 if name == "svd_xt" else 14)
    networks = {part: _config(TINY / part / "config.json") for part in ("unet", "vae", "image_encoder")}
    return Architecture(
        **networks,
        scheduler=_config(TINY / "scheduler" / "scheduler_config.json"),
        feature_extractor=_config(TINY / "feature_extractor" / "preprocessor_config.json"),
    )


def pretrained_pipeline(model: Model, dtype: torch.dtype) -> StableVideoDiffusionPipeline:
    """A pipeline with the weights of its folder, on the host. Raises UserError unless each tensor of each network is
    in the folder's files: diffusers and transformers only warn, and draw what is missing at random."""
    folder, read = judged(model)
    networks = {
        part: kind.from_pretrained(
            folder / part,
            variant=read.variants[part],
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
        )
        for part, kind in NETWORKS.items()
    }
    networks["image_encoder"].to(dtype=dtype)  # transformers keeps the file's own where its config names one
    return StableVideoDiffusionPipeline(
        **networks,
        scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        feature_extractor=CLIPImageProcessor.from_pretrained(folder / "feature_extractor"),
    )


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
        for name, buffer in list(module.named_buffers(recurse=False)):
            if name != "position_ids":
                own = f"{type(module).__name__}.{name}"
                raise RuntimeError(f"{own}: an unknown buffer, which random weights cannot fill")
            module._buffers[name] = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)


def _config(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {k: v for k, v in settings.items() if not k.startswith("_") and k not in NOT_SIZES}
