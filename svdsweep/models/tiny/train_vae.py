"""Trains the temporal decoder to undo the prescribed encoding, from latents as noisy as the U-Net leaves them."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Generator, Tensor, nn

from svdsweep.models.tiny import latents
from svdsweep.models.tiny.architecture import make_vae
from svdsweep.models.tiny.camera import PHOTOGRAPHS, CameraBank
from svdsweep.models.tiny.data import NUM_FRAMES, render_sprites, sample_conditions, sample_scenes, speed_px
from svdsweep.models.tiny.decoder import set_decoder
from svdsweep.models.tiny.encoder import set_encoder
from svdsweep.models.tiny.kept import kept_rows
from svdsweep.models.tiny.parallel import LOCAL_STEPS, Average, Clock, Member, set_rate

CHECKPOINT = "vae.pt"
LENGTHS = (1, 3, 4, 8, NUM_FRAMES)
"""Of the clips, in frames: not 2, where oneDNN's bfloat16 gradient of a temporal convolution is not finite."""
NUM_FITTED = 768
"""Pictures that the decoder's set part is fitted to."""
LATENT_NOISE = 0.1
"""The largest noise on a clip's latents, before scaling: teaches the decoder to use neighbouring frames."""


def train(
    member: Member,
    out: Path,
    minutes: float,
    steps: int | None,
    frames: int,
    photos: Path,
    resume: Path | None = None,
) -> None:
    """Set the encoder, train the decoder, leave the averaged weights in `out/vae.pt`.

    frames: a step and member; clips are 1 to 14 frames long, because a decode chunk may be that.
    resume: a checkpoint of the decoder to go on from.
    """
    torch.manual_seed(member.seed)
    generator = member.generator(stream=2)
    bank = CameraBank([photos / f"{name}.jpg" for name in PHOTOGRAPHS], seed=member.seed)
    vae = make_vae()
    vae.set_default_attn_processor()
    set_encoder(vae)
    if resume:
        state = torch.load(resume, map_location="cpu", weights_only=True)["model"]
        vae.decoder.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("decoder.")})
        kept = kept_rows(vae)
    else:
        kept = set_decoder(vae, sample_frames(NUM_FITTED, 1, generator, bank)[:, 0], generator)
    vae.to(member.device)
    parameters = list(vae.decoder.parameters())
    optimizer = make_optimizer(vae)
    average = Average(parameters, decay=0.99)
    clock, saved, smooth = Clock(member, minutes, steps), time.monotonic(), 0.0
    while clock.tick():
        set_rate([optimizer], clock.learning_rate(1.0, hold=0.1, warmup=40))
        length = LENGTHS[int(torch.randint(len(LENGTHS), (1,), generator=generator))]
        video = sample_frames(max(1, frames // length), length, generator, bank)
        loss, mse = _loss(vae, video, generator, member.device)
        torch.autograd.backward(loss)
        for parameter, rows in kept:
            if parameter.grad is not None:
                parameter.grad[:rows] = 0
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if clock.step % LOCAL_STEPS == 0:
            member.average(parameters)
        average.update()
        psnr = -10 * math.log10(mse / 4)
        smooth = smooth + (0.03 if clock.step > 30 else 1 / clock.step) * (psnr - smooth)
        if member.leads and clock.step % 50 == 0:
            print(
                f"vae step {clock.step} {time.monotonic() - clock.start:.0f} s: {smooth:.2f} dB", flush=True
            )
        if member.leads and time.monotonic() - saved > 120:
            saved = time.monotonic()
            _save(vae, average, clock.step, out)
    if member.leads:
        _save(vae, average, clock.step, out)


def make_optimizer(vae: AutoencoderKLTemporalDecoder) -> torch.optim.Adam:
    """What mixes frames learns ten times as fast: it begins as nothing, beside an inverse that is there already."""
    rates: dict[float, list[nn.Parameter]] = {2e-4: [], 2e-3: []}
    for name, parameter in vae.decoder.named_parameters():
        rates[2e-3 if "time" in name or "temporal" in name else 2e-4].append(parameter)
    groups = [{"params": parameters, "scale": scale} for scale, parameters in rates.items()]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def sample_frames(clips: int, length: int, generator: Generator, bank: CameraBank) -> Tensor:
    """Draw parts of clips of either kind: (clips, length, 3, 64, 64)."""
    bucket, fps, _ = sample_conditions(clips, generator)
    speed = speed_px(bucket, fps)
    start = int(torch.randint(NUM_FRAMES - length + 1, (1,), generator=generator))
    when = start + torch.arange(length)
    camera = int(clips * 0.6 + torch.rand(1, generator=generator))
    parts = [bank.sample(speed[:camera], generator, when)] if camera else []
    if camera < clips:
        parts.append(render_sprites(sample_scenes(clips - camera, generator), speed[camera:], when))
    return torch.cat(parts)


def _loss(
    vae: AutoencoderKLTemporalDecoder, video: Tensor, generator: Generator, device: str
) -> tuple[Tensor, float]:
    """Return absolute, gradient and squared error of the decoded clips, and the squared error alone."""
    clips, length = video.shape[:2]
    image = video.flatten(0, 1)
    code = latents.encode(image)
    noise = LATENT_NOISE * torch.rand(clips, 1, 1, 1, generator=generator).repeat_interleave(length, 0)
    code = code + noise * torch.randn(code.shape, generator=generator)
    image, code = image.to(device), code.to(device)
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        decoded = vae.decode(code, num_frames=length).sample
    error = decoded.float() - image
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    squared = error.square().mean()
    return error.abs().mean() + edges + squared, float(squared.detach())


def _save(vae: nn.Module, average: Average, step: int, out: Path) -> None:
    average.swap()
    torch.save({"model": vae.state_dict(), "step": step}, out / f"{CHECKPOINT}.part")
    os.replace(out / f"{CHECKPOINT}.part", out / CHECKPOINT)
    average.swap()
