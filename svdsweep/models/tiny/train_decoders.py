"""Trains the tiny model's other decoders (`svdsweep/models/decoders/`) to undo the prescribed encoding.

They have the published networks' layers in small widths. Nothing tells a frame's place in a patch of latents, so they
keep less than the temporal decoder does, whose kept part counts places."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from svdsweep.models.decoders.networks import NETWORKS, Kept
from svdsweep.models.tiny import latents
from svdsweep.models.tiny.camera import PHOTOGRAPHS, CameraBank
from svdsweep.models.tiny.data import IMAGES
from svdsweep.models.tiny.parallel import Average
from svdsweep.models.tiny.train_vae import sample_frames

SPREAD = 4.0
"""Scaled latents are divided by this for TAESD's networks, whose clamp bends what is beyond 3."""
BLOCKS = [3, 3, 3, 1]
CONFIGS: dict[str, dict[str, Any]] = {
    "image": {
        "_class_name": "AutoencoderKL",
        "latent_channels": latents.CHANNELS,
        "block_out_channels": [32, 32, 32, 32],
        "layers_per_block": 1,
        "scaling_factor": latents.SCALING_FACTOR,
    },
    "taesd": {
        "_class_name": "AutoencoderTiny",
        "latent_channels": latents.CHANNELS,
        "decoder_block_out_channels": [16, 16, 16, 16],
        "num_decoder_blocks": BLOCKS,
        "scaling_factor": SPREAD,
    },
    "taesdv": {
        "latent_channels": latents.CHANNELS,
        "width": 16,
        "num_decoder_blocks": BLOCKS,
        "scaling_factor": SPREAD,
    },
}
LENGTH, CLIPS = 3, 4
"""Frames of a clip and clips of a step: a memory of one frame needs no longer ones."""
STEPS = {"taesd": 1500, "taesdv": 2500, "image": 800}
"""Of the packaged weights, one thread each."""
RATE = 2e-3
WARMUP = 50


def train(name: str, out: Path, steps: int, seed: int = 0) -> float:
    """Train a decoder from nothing; its averaged weights and config go to `out/name/`. Returns its PSNR (dB) over the
    last tenth of the training."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    bank = CameraBank([IMAGES / f"{photo}.jpg" for photo in PHOTOGRAPHS], seed=seed)
    config = CONFIGS[name]
    network = NETWORKS[name](config)
    gain = 1.0 if name == "image" else latents.SCALING_FACTOR / config["scaling_factor"]
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.99))
    average = Average(parameters, decay=0.99)
    errors = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss, squared = _loss(network, sample_frames(CLIPS, LENGTH, generator, bank), gain, generator)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        errors.append(squared)
        if step % 200 == 0:
            print(f"{name} step {step}: {_psnr_db(errors[-200:]):.2f} dB", flush=True)
    average.swap()
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    stored = {key: value.to(torch.float16) for key, value in network.state_dict().items()}
    save_file(stored, folder / "diffusion_pytorch_model.safetensors")
    return _psnr_db(errors[-max(1, steps // 10) :])


def _loss(network: Any, video: Tensor, gain: float, generator: Generator) -> tuple[Tensor, float]:
    """Absolute and squared error of decoded clips, and the squared error alone."""
    codes = latents.encode(video.flatten(0, 1))
    codes = codes.reshape(*video.shape[:2], *codes.shape[1:])
    codes = codes + 0.05 * torch.randn(codes.shape, generator=generator)
    kept: Kept = None
    frames = []
    for t in range(video.shape[1]):
        frame, kept = network(codes[:, t] * gain, kept)
        frames.append(frame)
    error = torch.stack(frames, 1) - video
    squared = error.square().mean()
    return error.abs().mean() + squared, float(squared.detach())


def _psnr_db(errors: list[float]) -> float:
    return -10 * math.log10(sum(errors) / len(errors) / 4)
