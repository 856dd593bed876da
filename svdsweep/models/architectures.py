"""The shapes of the published networks and the embedded ones, for weights that come without config files.

UNet and scheduler are those of the published config files; VAE and image encoder agree with those in every size.
Their parameter counts are tested."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TINY = Path(__file__).resolve().parent / "tiny" / "weights"
PARAMETERS = {"unet": 1_524_623_082, "vae": 97_742_847, "image_encoder": 632_076_800}
"""Parameters of each network, in SVD and SVD-XT alike."""

NOT_SIZES = (
    *("architectures", "dtype", "torch_dtype"),
    *("model_type", "transformers_version", "image_processor_type"),
)
"""What the config files of transformers hold beside the arguments of a network."""


@dataclass(frozen=True)
class Architecture:
    """Keyword arguments of each component's config, by the component's name in the pipeline."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    image_encoder: dict[str, Any]
    scheduler: dict[str, Any]
    feature_extractor: dict[str, Any]


CROSSING, PLAIN = "CrossAttn{}BlockSpatioTemporal", "{}BlockSpatioTemporal"
UNET = {
    "sample_size": 96,
    "in_channels": 8,
    "out_channels": 4,
    "down_block_types": (*[CROSSING.format("Down")] * 3, PLAIN.format("Down")),
    "up_block_types": (PLAIN.format("Up"), *[CROSSING.format("Up")] * 3),
    "block_out_channels": (320, 640, 1280, 1280),
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "transformer_layers_per_block": 1,
    "num_attention_heads": (5, 10, 20, 20),
}
VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
    "force_upcast": True,
}
IMAGE_ENCODER = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "projection_dim": 1024,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}
FEATURE_EXTRACTOR = {"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 224}}


def svd(num_frames: int) -> Architecture:
    """The networks of SVD (14 frames) and SVD-XT (25 frames), which differ in nothing else."""
    return Architecture({**UNET, "num_frames": num_frames}, VAE, IMAGE_ENCODER, SCHEDULER, FEATURE_EXTRACTOR)


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


def _config(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {k: v for k, v in settings.items() if not k.startswith("_") and k not in NOT_SIZES}
