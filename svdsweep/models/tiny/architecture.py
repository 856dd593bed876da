"""The five parts of the pipeline: Stable Video Diffusion's own classes, with small numbers in them."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from svdsweep.models.tiny.data import NUM_FRAMES, SIZE
from svdsweep.models.tiny.latents import CHANNELS, PATCH, SCALING_FACTOR
from svdsweep.models.tiny.shortcut import set_copy

EMBEDDING = 64
"""Width of the image embedding that the U-Net attends to."""
ADDED_TIME = 32
"""Width of the sinusoidal embedding of each of fps, motion bucket and noise strength."""


def make_unet() -> UNetSpatioTemporalConditionModel:
    """Two levels, 128 channels at 8 x 8 and 64 at 4 x 4; attention over space and time at the lower one.

    Normalisation has 32 groups whatever the width: 32 channels would cancel the time conditioning.
    """
    unet = UNetSpatioTemporalConditionModel(
        sample_size=SIZE // PATCH,
        in_channels=2 * CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        block_out_channels=(128, 64),
        addition_time_embed_dim=ADDED_TIME,
        projection_class_embeddings_input_dim=3 * ADDED_TIME,
        layers_per_block=1,
        cross_attention_dim=EMBEDDING,
        num_attention_heads=4,
        num_frames=NUM_FRAMES,
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    set_copy(unet)
    return unet


def make_image_encoder() -> CLIPVisionModelWithProjection:
    """Two layers over 7 x 7 patches."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            projection_dim=EMBEDDING,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=224,
            patch_size=32,
        )
    )


def make_vae() -> AutoencoderKLTemporalDecoder:
    """Three halvings, 64 channels, one residual block a level; `force_upcast` as the real one."""
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(64,) * 4,
        layers_per_block=1,
        latent_channels=CHANNELS,
        sample_size=SIZE,
        scaling_factor=SCALING_FACTOR,
        force_upcast=True,
    )


def make_scheduler() -> EulerDiscreteScheduler:
    """Stable Video Diffusion's scheduler, unchanged."""
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        interpolation_type="linear",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
        rescale_betas_zero_snr=False,
    )


def make_pipeline(
    vae: AutoencoderKLTemporalDecoder,
    image_encoder: CLIPVisionModelWithProjection,
    unet: UNetSpatioTemporalConditionModel,
) -> StableVideoDiffusionPipeline:
    """Put the parts together, with the scheduler and the image processor."""
    processor = CLIPImageProcessor(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    return StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=image_encoder,
        unet=unet,
        scheduler=make_scheduler(),
        feature_extractor=processor,
    )


def clip_pixels(image: Tensor) -> Tensor:
    """Return what the pipeline shows the image encoder, (N, 3, 224, 224), of images in [-1, 1]."""
    large = nn.functional.interpolate(image, size=(224, 224), mode="bicubic", align_corners=True)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073], device=image.device).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711], device=image.device).view(1, 3, 1, 1)
    return ((large + 1) / 2 - mean) / std
