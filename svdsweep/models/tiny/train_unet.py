"""Trains the U-Net and the image encoder, with the preconditioning that the pipeline's scheduler expects.

EulerDiscreteScheduler with v prediction and continuous timesteps shows the U-Net x / sqrt(sigma^2 + 1) at the
timestep ln(sigma) / 4 and takes its output F to mean x0 = x / (sigma^2 + 1) - F sigma / sqrt(sigma^2 + 1)
(Karras et al. 2022 with sigma_data = 1; Salimans and Ho 2022).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from svdsweep.models.tiny import latents
from svdsweep.models.tiny.architecture import clip_pixels, make_image_encoder, make_unet
from svdsweep.models.tiny.camera import PHOTOGRAPHS, CameraBank
from svdsweep.models.tiny.data import (
    SLOW,
    SLOW_SHARE,
    render_sprites,
    sample_conditions,
    sample_scenes,
    speed_px,
)
from svdsweep.models.tiny.muon import Muon
from svdsweep.models.tiny.parallel import LOCAL_STEPS, Average, Clock, Member, set_rate
from svdsweep.models.tiny.shortcut import frozen_parts, hold

CHECKPOINT = "unet.pt"
OUTER = ("embed", "conv_in", "conv_out", "conv_shortcut")
"""What Muon leaves to Adam besides vectors: the ends of the network, and the shortcuts that carry the copy."""


class Denoiser(nn.Module):
    """The U-Net with its image encoder: what is trained, in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = make_unet()
        self.image_encoder = make_image_encoder()

    def forward(
        self, noisy: Tensor, sigma: Tensor, condition: Tensor, embedding: Tensor, ids: Tensor
    ) -> Tensor:
        """Return F (B, T, C, h, w) of noisy latents; condition (B, C, h, w), embedding (B, 1, E), ids (B, 3)."""
        scaled = noisy / (sigma.square() + 1).sqrt().view(-1, 1, 1, 1, 1)
        frames = condition[:, None].expand(-1, noisy.shape[1], -1, -1, -1)
        output: Tensor = self.unet(
            torch.cat([scaled, frames], 2), 0.25 * sigma.log(), embedding, added_time_ids=ids
        ).sample
        return output


def sample_batch(
    batch: int, generator: Generator, bank: CameraBank, slow_share: float, *, camera: float = 0.4
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw clips with their conditions: video (B, T, 3, H, W), bucket, fps, noise strength (B,)."""
    bucket, fps, strength = sample_conditions(batch, generator, slow_share)
    speed = speed_px(bucket, fps)
    num_camera = round(batch * camera - 0.5 + float(torch.rand(1, generator=generator)))
    clips = [render_sprites(sample_scenes(batch - num_camera, generator), speed[num_camera:])]
    if num_camera:
        clips.insert(0, bank.sample(speed[:num_camera], generator))
    return torch.cat(clips), bucket, fps, strength


def sample_sigma(batch: int, generator: Generator) -> Tensor:
    """Draw noise levels: log-normal about 1, and a third of them log-uniform in 2 ... 700.

    Karras's schedule from 700 spends half of its steps there, and the path is decided there.
    """
    bell = (torch.randn(batch, generator=generator) * 1.4 - 0.2).exp()
    tail = 2 * 350 ** torch.rand(batch, generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < 0.33, tail, bell).clamp(0.002, 700)


def motion_weight(x0: Tensor) -> Tensor:
    """Weigh the first frame five times, and up to four times what differs from it; a clip has a mean of one."""
    moving = (x0 - x0[:, :1]).abs().amax(2, keepdim=True) / 0.4
    weight = 1 + 3 * moving.clamp(max=1)
    weight[:, 0] = 5
    return weight / weight.mean((1, 2, 3, 4), keepdim=True)


def train(
    member: Member,
    out: Path,
    minutes: float,
    steps: int | None,
    batch: int,
    photos: Path,
    resume: Path | None = None,
    rate: float = 1.0,
    slow_share: float = SLOW_SHARE,
    slow_weight: float = 1.0,
) -> None:
    """Train and leave the averaged weights in `out/unet.pt`, saved every two minutes.

    batch: clips a step and member. Of the conditions, the image embedding is dropped in 8 % of the clips and
    the image latents in 8 % (6 % both), as zeros, which is what the pipeline's unconditional half gets.
    resume: a checkpoint to go on from; rate: the peak learning rate as a share of that of a fresh start.
    slow_share: of the clips, how many have a motion bucket below `SLOW`; slow_weight: how much each counts.
    """
    torch.manual_seed(member.seed)
    model = Denoiser().to(member.device)
    model.unet.set_default_attn_processor()
    first_step = _resume(model, resume) if resume else 0
    parameters = list(model.parameters())
    optimizers = make_optimizers(model)
    frozen = frozen_parts(model.unet)
    average = Average(parameters, decay=0.997)
    generator = member.generator(stream=1 + first_step)
    bank = CameraBank([photos / f"{name}.jpg" for name in PHOTOGRAPHS], seed=member.seed)
    clock, saved, losses = Clock(member, minutes, steps), time.monotonic(), torch.zeros(4)
    while clock.tick():
        set_rate(optimizers, clock.learning_rate(rate, hold=0.25))
        error, sigma = loss(model, batch, generator, bank, member.device, slow_share, slow_weight)
        torch.autograd.backward(error.mean())
        hold(frozen)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if clock.step % LOCAL_STEPS == 0:
            member.average(parameters)
        average.update()
        for band, chosen in enumerate((sigma < 0.5, (sigma >= 0.5) & (sigma < 5), sigma >= 5)):
            if chosen.any():
                losses[band] += 0.03 * (error.detach()[chosen].mean().cpu() - losses[band])
        if member.leads and clock.step % 50 == 0:
            low, middle, high = (losses[:3] / (1 - 0.97**clock.step)).tolist()
            seconds = time.monotonic() - clock.start
            print(f"unet step {clock.step} {seconds:.0f} s: {low:.4f} {middle:.4f} {high:.4f}", flush=True)
        if member.leads and time.monotonic() - saved > 120:
            saved = time.monotonic()
            save(model, average, first_step + clock.step, out)
    if member.leads:
        save(model, average, first_step + clock.step, out)


def loss(
    model: Denoiser,
    batch: int,
    generator: Generator,
    bank: CameraBank,
    device: str,
    slow_share: float,
    slow_weight: float,
) -> tuple[Tensor, Tensor]:
    """Return the weighted squared error of each clip (B,) and its noise level."""

    def noise_like(x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator)

    video, bucket, fps, strength = sample_batch(batch, generator, bank, slow_share)
    image = video[:, 0]
    x0 = latents.SCALING_FACTOR * torch.unflatten(latents.encode(video.flatten(0, 1)), 0, video.shape[:2])
    condition = latents.encode(image + strength.view(-1, 1, 1, 1) * noise_like(image))
    condition = condition + 0.02 * noise_like(condition)
    dice = torch.rand(batch, generator=generator)
    condition = condition * ((dice >= 0.06) & (dice <= 0.98)).view(-1, 1, 1, 1)
    keep_embedding = (dice >= 0.08).view(-1, 1, 1)
    sigma = sample_sigma(batch, generator)
    noisy = x0 + sigma.view(-1, 1, 1, 1, 1) * noise_like(x0)
    s = sigma.view(-1, 1, 1, 1, 1)
    target = (noisy / (s * s + 1) - x0) * (s * s + 1).sqrt() / s
    ids = torch.stack([fps - 1, bucket, strength], 1)
    weight = motion_weight(x0) * torch.where(bucket < SLOW, slow_weight, 1.0).view(-1, 1, 1, 1, 1)

    moved = [t.to(device) for t in (noisy, sigma, condition, ids, image, keep_embedding, target, weight)]
    noisy, sigma, condition, ids, image, keep_embedding, target, weight = moved
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        embedding = model.image_encoder(clip_pixels(image)).image_embeds[:, None] * keep_embedding
        output = model(noisy, sigma, condition, embedding, ids)
    return (weight * (output.float() - target).square()).mean((1, 2, 3, 4)), sigma


def _resume(model: Denoiser, checkpoint: Path) -> int:
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    return int(state["step"])


def save(model: Denoiser, average: Average, step: int, out: Path) -> None:
    """Write the averaged weights and the number of steps, atomically."""
    average.swap()
    torch.save({"model": model.state_dict(), "step": step}, out / f"{CHECKPOINT}.part")
    os.replace(out / f"{CHECKPOINT}.part", out / CHECKPOINT)
    average.swap()


def make_optimizers(model: Denoiser) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the U-Net, Adam for the rest."""
    inner: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        outer = parameter.ndim < 2 or any(word in name for word in OUTER)
        (rest if outer or name.startswith("image_encoder") else inner).append(parameter)
    adam = torch.optim.Adam([{"params": rest, "scale": 1e-3}], lr=0.0, betas=(0.9, 0.99))
    return [adam, Muon(inner, scale=0.01)]
