"""Puts the trained parts into diffusers' folder layout, and writes the conditioning images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image
from torch import Tensor

from svdsweep.models.tiny import train_unet, train_vae
from svdsweep.models.tiny.architecture import make_pipeline, make_vae
from svdsweep.models.tiny.data import Scene, render_sprites, sample_scenes

IMAGES_SEED = 20_000
"""Far from the seeds of training and of the evaluation."""


def export(trained: Path, folder: Path) -> StableVideoDiffusionPipeline:
    """Write the pipeline of `trained/unet.pt` and `trained/vae.pt` to a folder; U-Net and VAE in float16.

    The image encoder stays float32: transformers would load a float16 file as float16 beside a float32 U-Net.
    """
    denoiser = train_unet.Denoiser()
    denoiser.load_state_dict(_load(trained / train_unet.CHECKPOINT))
    vae = make_vae()
    vae.load_state_dict(_load(trained / train_vae.CHECKPOINT))
    pipeline = make_pipeline(vae.half(), denoiser.image_encoder, denoiser.unet.half())
    pipeline.save_pretrained(folder, safe_serialization=True)
    return pipeline


def unpack(folder: Path, out: Path) -> None:
    """Write `out/unet.pt` and `out/vae.pt` of a pipeline's folder, to go on training from."""
    pipeline = StableVideoDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    denoiser = train_unet.Denoiser()
    denoiser.unet.load_state_dict(pipeline.unet.state_dict())
    denoiser.image_encoder.load_state_dict(pipeline.image_encoder.state_dict())
    out.mkdir(parents=True, exist_ok=True)
    torch.save({"model": denoiser.state_dict(), "step": 0}, out / train_unet.CHECKPOINT)
    torch.save({"model": pipeline.vae.state_dict(), "step": 0}, out / train_vae.CHECKPOINT)


def _load(checkpoint: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    return state


def write_images(folder: Path) -> list[Path]:
    """Write the packaged sprite pictures: one that goes right, one that goes up, a pair, and a white one."""
    written = []
    for name, scene in example_scenes().items():
        path = folder / f"sprite_{name}.png"
        to_image(render_sprites(scene, torch.zeros(1), 1)[0, 0]).save(path, optimize=True)
        written.append(path)
    return written


def example_scenes() -> dict[str, Scene]:
    """Return the scenes of the packaged sprite pictures, by name."""
    generator = torch.Generator().manual_seed(IMAGES_SEED)
    plain = sample_scenes(64, generator, white=0, second=0)
    pairs = sample_scenes(64, generator, white=0, second=1)
    white = sample_scenes(1, generator, white=1)
    right = _first(plain, plain.heading[:, 0, 0] == 1)
    up = _first(plain, plain.heading[:, 0, 1] == -1)
    opposite = (pairs.heading[:, 0] == -pairs.heading[:, 1]).all(1)
    apart = (pairs.start_px[:, 0] - pairs.start_px[:, 1]).norm(dim=1) > 30
    return {"right": right, "up": up, "pair": _first(pairs, opposite & apart), "white": replace(white)}


def _first(scenes: Scene, fits: Tensor) -> Scene:
    index = int(fits.nonzero()[0])
    return scenes[index : index + 1]


def to_image(frame: Tensor) -> Image.Image:
    """Return a picture of a frame (3, H, W) in [-1, 1]."""
    pixels = ((frame + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
    return Image.fromarray(pixels.numpy())
