"""A run of the true pipeline under its true strategy over fake tensors: stage by stage, in the pipeline's own order."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline
from diffusers.utils import logging
from transformers import CLIPImageProcessor

from svdsweep.config import Job, Memory
from svdsweep.memory import step_cache
from svdsweep.memory.apply import prepare
from svdsweep.memory.other_decoders import applied
from svdsweep.memory.per_run import different_turns, is_guided, turns_of
from svdsweep.models.architectures import architecture
from svdsweep.models.decoders.load import decoder_without_weights
from svdsweep.models.decoders.locate import TEMPORAL
from svdsweep.models.load import on_meta
from svdsweep.predict.fake_gpu import fake_gpu, materialize
from svdsweep.predict.prediction import DECODE, GIB, Kernel, Prediction, Stage, Stretch
from svdsweep.predict.repeats import Repeated, shortened_loops
from svdsweep.predict.tracker import Tracker

DEVICE = torch.device("cuda", 0)


def simulate(
    job: Job, chunks: Iterable[int], in_full: bool = False, workspaces: bool = True
) -> dict[int, Prediction]:
    """The prediction of a job for each decode chunk (frames); takes seconds, no weights and no GPU.

    `in_full` simulates equal repetitions as often as they occur: slower, the same numbers. Without
    `workspaces` tensors alone are counted, not what cuDNN holds inside a convolution.
    Raises what the strategy raises where it cannot be applied."""
    memory, notes = runnable(applied(job))
    tracker = Tracker(workspaces)
    pipe = on_meta_pipeline(job.model.architecture, job.model.decoder)
    loops = contextlib.nullcontext() if in_full else shortened_loops(tracker)
    with quiet(), fake_gpu(tracker.is_weight), tracker, loops:
        for network in (pipe.unet, pipe.vae, pipe.image_encoder):
            materialize(network, getattr(torch, job.model.dtype))
        tracker.name_modules({"unet": pipe.unet, "vae": pipe.vae, "image_encoder": pipe.image_encoder})
        if memory.split_guidance and not in_full:  # the halves of guidance are equal
            pipe.unet.forward = Repeated(pipe.unet.forward, tracker, times=1)
        prepare(pipe, memory, DEVICE)
        tracker.mark()
        run = Run(pipe, job, tracker, in_full)
        latents = run.until_latents()
        return {chunk: Prediction(run.stages | run.decode(latents, chunk), notes) for chunk in chunks}


def runnable(memory: Memory) -> tuple[Memory, list[str]]:
    """The strategy without what cannot run over fake tensors, and what that means for the prediction."""
    changes: dict[str, Any] = {}
    notes = []
    if memory.compile != "none" or memory.compile_vae:
        changes |= {"compile": "none", "compile_vae": False, "norms_by_channel": False}
        notes.append(
            "compilation is predicted as the eager run: fused kernels hold less (on an H200 four fifths in a step of "
            "SVD-XT, two thirds in its decode), CUDA graphs and autotuning more"
        )
    if memory.channels_last and memory.compile == "whole" and memory.compile_vae:
        changes["channels_last"] = False
        layout = "the usual layout: nothing is copied in between"
        notes.append(f"channels_last under compilation is predicted as {layout}")
    if memory.attention in ("xformers", "sage", "measured"):
        changes["attention"] = "default"
        notes.append(f"attention={memory.attention} is predicted as flash attention")
    if memory.attention == "measured":
        notes[-1] += (
            "; the kernel that is chosen for a layer may hold as much again as the layer's query, key, value and result"
        )
    if memory.cudnn_benchmark:
        notes.append("cudnn_benchmark is predicted without the workspaces of the kernels that it tries")
    if memory.offload_to_disk:
        changes["offload_to_disk"] = False
        notes.append("offload_to_disk is predicted as offload to host memory: the same on the device")
    return dataclasses.replace(memory, **changes), notes


def on_meta_pipeline(shape: str, decoder: str = TEMPORAL) -> StableVideoDiffusionPipeline:
    """A pipeline without weights; the scheduler computes with true numbers, so it is made before any is fake."""
    configs = architecture(shape)
    networks = {name: network.eval() for name, network in on_meta(configs).items()}
    if decoder != TEMPORAL:
        factor = configs.vae["scaling_factor"]
        networks["vae"].decoder = decoder_without_weights(decoder, shape, factor).eval()
    scheduler = EulerDiscreteScheduler(**configs.scheduler)
    extractor = CLIPImageProcessor(**configs.feature_extractor)
    return StableVideoDiffusionPipeline(**networks, scheduler=scheduler, feature_extractor=extractor)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """diffusers warns of every cast to a type that a CPU would not compute in."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


class Run:
    """The steps of `StableVideoDiffusionPipeline.__call__`, which as a whole asks fake tensors for their values."""

    def __init__(self, pipe: Any, job: Job, tracker: Tracker, in_full: bool = False) -> None:
        self.pipe, self.job, self.tracker, self.in_full = pipe, job, tracker, in_full
        self.stages: dict[str, Stage] = {}

    def until_latents(self) -> torch.Tensor:
        """All but the decode; (1, F, C, h, w)."""
        pipe, job = self.pipe, self.job
        guided = is_guided(job)
        device = pipe._execution_device
        crop = pipe.feature_extractor.crop_size
        picture = torch.empty(1, 3, crop["height"], crop["width"])
        pixels = picture.to(device=device, dtype=next(pipe.image_encoder.parameters()).dtype)
        embeddings = pipe.image_encoder(pixels).image_embeds
        self.stages["image_encode"] = self._stage()
        embeddings = embeddings.unsqueeze(1).repeat(1, 1, 1)
        if guided:
            embeddings = torch.cat([torch.zeros_like(embeddings), embeddings])

        image = torch.empty(1, 3, job.height, job.width).to(device)
        image = image + job.noise_aug_strength * torch.empty(image.shape).to(device)
        upcast = pipe.vae.dtype == torch.float16 and pipe.vae.config.force_upcast
        if upcast:
            pipe.vae.to(dtype=torch.float32)
        image_latents = pipe._encode_vae_image(
            image, device=device, num_videos_per_prompt=1, do_classifier_free_guidance=guided
        ).to(embeddings.dtype)
        if upcast:
            pipe.vae.to(dtype=torch.float16)
        image_latents = image_latents.unsqueeze(1).repeat(1, job.num_frames, 1, 1, 1)
        added_time_ids = torch.empty(2 if guided else 1, 3, dtype=embeddings.dtype).to(device)
        scale, channels = pipe.vae_scale_factor, pipe.unet.config.in_channels // 2
        size = job.num_frames, channels, job.height // scale, job.width // scale
        latents = torch.empty(1, *size, dtype=embeddings.dtype).to(device) * 1.0
        timestep = torch.empty((), dtype=torch.float32).to(device)
        self.stages["vae_encode"] = self._stage()

        conditions = {"encoder_hidden_states": embeddings, "added_time_ids": added_time_ids}
        steps = []
        times = different_turns(job)
        scheduler = self.pipe.scheduler
        scheduler.timesteps, scheduler.sigmas = range(turns_of(job)), range(turns_of(job), 0, -1)
        step_cache.begin(self.pipe, job)
        for step in times:
            self.tracker.timestep = scheduler._step_index = step
            latents = self._step(latents, image_latents, timestep, **conditions)
            steps.append(self._stage())
        stage = _all_steps(steps, times, moves_once=job.memory.offload == "model")
        self.stages["denoise"] = dataclasses.replace(stage, overlapped=job.memory.offload_stream)
        return latents

    def decode(self, latents: torch.Tensor, chunk: int) -> dict[str, Stage]:
        """The decode of latents (1, F, C, h, w)."""
        if self.job.memory.offload == "model":  # an earlier decode has sent the UNet away
            self.pipe.unet._hf_hook.pre_forward(self.pipe.unet)
        if hook := getattr(self.pipe, "vae_hook", None):
            hook.offload()
        self.tracker.mark()
        self.tracker.kinds[0] = DECODE
        decode = self.pipe.vae.decode
        chunks = decode if self.in_full else Repeated(decode, self.tracker)
        with patch.object(self.pipe.vae, "decode", chunks):
            video = self.pipe.decode_latents(latents, self.job.num_frames, chunk)
        frames = self.pipe.video_processor.postprocess_video(video, output_type="pt")
        del video, frames
        stage = self._stage()
        if streamed := getattr(self.pipe, "streamed_decoder", None):
            stage = dataclasses.replace(stage, overlapped=True, host_gib=streamed.host_bytes / GIB)
        return {"vae_decode": stage}

    def _step(
        self, latents: torch.Tensor, image_latents: torch.Tensor, timestep: torch.Tensor, **conditions: Any
    ) -> torch.Tensor:
        """One step of the loop; the scheduler's part is Euler's, of which only the sizes matter."""
        guided = is_guided(self.job)
        model_input = torch.cat([latents] * 2) if guided else latents
        model_input = torch.cat([model_input / 1.0, image_latents], dim=2)
        noise = self.pipe.unet(model_input, timestep, **conditions, return_dict=False)[0]
        if guided:
            without, with_image = noise.chunk(2)
            noise = without + 1.0 * (with_image - without)
        sample = latents.to(torch.float32)
        original = noise * 1.0 + sample
        derivative = (sample - original) / 1.0
        following: torch.Tensor = (sample + derivative * 1.0).to(noise.dtype)
        return following

    def _stage(self) -> Stage:
        """What was held and done since the tracker's last mark."""
        peak, cost = self.tracker.mark()
        where, kernels = (peak.operation, peak.module, peak.largest), _kernels(cost.kernels)
        moves = cost.h2d_bytes / GIB, cost.d2h_bytes / GIB
        over_time = [Stretch(peak.points, peak.operation, peak.module)]
        return Stage(peak.nbytes / GIB, peak.weights / GIB, *where, kernels, *moves, over_time=over_time)


def _kernels(counts: Counter[tuple[str, int, int]]) -> list[Kernel]:
    return [Kernel(kind, flop, moved, n) for (kind, flop, moved), n in sorted(counts.items())]


def _all_steps(steps: list[Stage], times: dict[int, int], moves_once: bool) -> Stage:
    """A denoise from its different steps, and by their turn how often each occurs; weights move in each of them, or in
    the first."""
    counts: Counter[tuple[str, int, int]] = Counter()
    for step, n in zip(steps, times.values(), strict=True):
        for k in step.kernels:
            counts[k.kind, k.flop, k.moved_bytes] += k.count * n
    moves = [1] + [0] * (len(steps) - 1) if moves_once else list(times.values())
    h2d_gib = sum(step.h2d_gib * n for step, n in zip(steps, moves, strict=True))
    d2h_gib = sum(step.d2h_gib * n for step, n in zip(steps, moves, strict=True))
    over_time = [
        dataclasses.replace(stretch, turn=turn, times=n)
        for step, (turn, n) in zip(steps, times.items(), strict=True)
        for stretch in step.over_time
    ]
    highest = max(steps, key=lambda step: step.peak_gib)
    return dataclasses.replace(
        highest, kernels=_kernels(counts), h2d_gib=h2d_gib, d2h_gib=d2h_gib, over_time=over_time
    )
