"""All frames decoded together at the memory of one: SVD's temporal decoder, layer by layer over a clip's frames.

Its temporal blocks normalise over every frame that they are given, so a decode in chunks gives other pictures. Here
each layer sees all frames, one at a time. A block is three passes, between which its frames wait on a `Shelf`:

1. the spatial block, frame by frame, at the end of the pass before: the moments of the first norm are gathered;
2. norm, SiLU and (3, 1, 1) convolution as a window of three frames; the moments of the second norm are gathered;
3. the same once more, the blend, and what follows up to the next block's spatial one.

So a frame is written twice and read three times a block, which is the least: each norm must have seen all frames before
one of them goes on. A convolution over time is one matrix product of the three frames' channels. What a decode of all
frames computes in half precision is computed in another order: equal up to rounding."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from svdsweep.config import Memory
from svdsweep.memory.contract import unless_all
from svdsweep.memory.streamed_frames import Frames, Shelf

TAPS = 3
Convolve = Callable[[Tensor, int], Tensor]
"""A convolution over time: the window around a frame, and the frame's number."""
Then = Callable[[int, Tensor], None]
"""Called with the number of a frame and what a pass has made of it."""


class Moments:
    """Mean and variance of each group of channels over all frames that are added, which are of one size.

    For frames in half precision they come from sums of x and x² in float32, which lose less than the rounding of x has
    lost while the mean is below some 50 standard deviations; else from each frame's mean and variance."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.means: list[Tensor] = []
        self.spreads: list[Tensor] = []
        self.lengths: int | None = None
        """Elements of a group, where the spreads are the lengths of its vectors and not their variances."""

    def add(self, x: Tensor) -> None:
        """Add a frame (1, C, H, W)."""
        rows = x.reshape(self.groups, -1)
        if x.dtype in (torch.float16, torch.bfloat16):
            self.lengths = rows.shape[1]
            self.means.append(rows.mean(1, dtype=torch.float32))
            self.spreads.append(torch.linalg.vector_norm(rows, 2, 1, dtype=torch.float32))
        else:
            variance, mean = torch.var_mean(rows, 1, correction=0)
            self.means.append(mean)
            self.spreads.append(variance)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, (groups,) each, in at least float32 (Chan, Golub and LeVeque 1983, for equal parts)."""
        means, variances = torch.stack(self.means), torch.stack(self.spreads)
        if self.lengths:
            variances = (variances.square() / self.lengths - means.square()).clamp_min(0)
        return means.mean(0), variances.mean(0) + means.var(0, correction=0)


class StreamedDecoder:
    """The forward of a `TemporalDecoder` that keeps frames on the device up to `budget` bytes, the rest on the host."""

    def __init__(self, decoder: Any, budget: int) -> None:
        self.decoder, self.budget = decoder, budget
        self.host_bytes = 0
        """Host memory of the largest decode so far."""

    def forward(self, sample: Tensor, image_only_indicator: Tensor, num_frames: int = 1) -> Tensor:
        """(clips · num_frames, 4, h, w) scaled latents → (clips · num_frames, 3, 8h, 8w)."""
        return torch.cat([self._clip(clip) for clip in torch.split(sample, num_frames)])

    def _clip(self, sample: Tensor) -> Tensor:
        shelf = Shelf(sample.device, self.budget)
        try:
            return self._passes(sample, shelf)
        finally:
            shelf.lanes.settle()
            self.host_bytes = max(self.host_bytes, shelf.arena.nbytes)

    def _passes(self, sample: Tensor, shelf: Shelf) -> Tensor:
        layers, tail = layers_of(self.decoder)
        frames = len(sample)
        (before, block), *others = layers
        entrance = _Entrance(before, block, shelf, frames)
        for t in range(frames):
            entrance.enter(t, sample[t : t + 1])
        for before, following in others:
            entered, entrance = entrance, _Entrance(before, following, shelf, frames)
            entered.leave(shelf, entrance.enter)
        pictures: list[Tensor] = []

        def picture(_t: int, x: Tensor) -> None:
            for layer in tail:
                x = layer(x)
            pictures.append(x)

        entrance.leave(shelf, picture)
        video: Tensor = self.decoder.time_conv_out(torch.stack(pictures, 2))
        return video[0].transpose(0, 1)


class _Entrance:
    """A block in the decode of one clip: frames enter it one by one, which is its first pass (with the layers `before`
    it), and leave it together by the other two."""

    def __init__(self, before: list[Any], block: Any, shelf: Shelf, frames: int) -> None:
        self.before, self.block = before, block
        self.frames = Frames(shelf, frames)
        self.moments = Moments(block.temporal_res_block.norm1.num_groups)

    def enter(self, t: int, x: Tensor) -> None:
        """Run the first pass of frame `t`."""
        for layer in self.before:
            x = layer(x)
        x = self.block.spatial_res_block(x, None)
        self.moments.add(x)
        self.frames.put(t, x)

    def leave(self, shelf: Shelf, then: Then) -> None:
        """Run the second and the third pass, when every frame has entered."""
        layers = self.block.temporal_res_block
        between = Frames(shelf, self.frames.count)
        moments = Moments(layers.norm2.num_groups)

        def keep(t: int, x: Tensor) -> None:
            moments.add(x)
            between.put(t, x)

        def mixed(window: Tensor, t: int) -> Tensor:
            spatial = self.frames.get(t, last=True)  # which begins to fetch the next one
            frame: Tensor = self.block.time_mixer(spatial, layers.conv2(window, t))
            return frame

        _windows(layers.norm1, layers.conv1, self.moments, self.frames, False, keep)
        _windows(layers.norm2, mixed, moments, between, True, then)


def _windows(norm: Any, convolve: Convolve, moments: Moments, frames: Frames, last: bool, then: Then) -> None:
    """Run norm, SiLU and a convolution over time, frame by frame in a window of three; beyond the ends of the clip
    there are zeros."""
    scale, shift = norm(*moments.merged())
    window: Tensor | None = None
    for t in range(frames.count + 1):
        if t < frames.count:
            x = frames.get(t, last)
            if window is None:
                window = x.new_zeros(TAPS, *x.shape[1:])
            torch.addcmul(shift, x[0], scale, out=window[t % TAPS])  # rounds once, as the norm does
            F.silu(window[t % TAPS], inplace=True)
            del x  # frees its memory for the convolution
        elif window is not None:
            window[t % TAPS].zero_()
        if t and window is not None:
            then(t - 1, convolve(window, t - 1))


def affine(norm: Any, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """A group norm's forward without its last step: the factors of the channels and what is added, (C, 1, 1) each."""
    members = norm.num_channels // norm.num_groups
    rstd = (variance + norm.eps).rsqrt().repeat_interleave(members)
    scale = norm.weight.to(rstd.dtype) * rstd
    shift = norm.bias.to(rstd.dtype) - mean.repeat_interleave(members) * scale
    return scale[:, None, None], shift[:, None, None]


def over_time(conv: Any, window: Tensor, t: int) -> Tensor:
    """A (3, 1, 1) convolution's forward at frame `t`: `window` (3, C, H, W) holds frame f at f modulo 3 → (1, O, H, W).

    One product of (O, 3 · C) and (3 · C, H · W), so that it is summed in full precision."""
    taps = conv.weight[..., 0, 0]
    weight = torch.stack([taps[..., (place - t + 1) % TAPS] for place in range(TAPS)], 1)
    out = torch.addmm(conv.bias[:, None], weight.flatten(1), window.flatten(2).flatten(0, 1))
    return out.view(1, -1, *window.shape[2:])


def blended(mixer: Any, spatial: Tensor, change: Tensor) -> Tensor:
    """A mixer's forward: a · s + (1 - a) · (s + change), in the memory of s."""
    alpha = mixer.get_alpha(None, spatial.ndim).to(spatial.dtype)
    weight = alpha if mixer.switch_spatial_to_temporal_mix else 1 - alpha
    return spatial.addcmul_(change, weight)


def layers_of(decoder: Any) -> tuple[list[tuple[list[Any], Any]], list[Any]]:
    """The decoder's spatio-temporal blocks, each with the layers before it that see one frame; and the layers after the
    last block. Raises ValueError for another kind of decoder."""
    before: list[Any] = [decoder.conv_in]
    layers: list[tuple[list[Any], Any]] = []
    for block, behind in _blocks(decoder):
        temporal = block.temporal_res_block
        mixes_images = block.time_mixer.merge_strategy == "learned_with_images"
        if mixes_images or temporal.use_in_shortcut or temporal.time_emb_proj is not None:
            raise ValueError("decode=streamed: this model's decoder is not AutoencoderKLTemporalDecoder's")
        layers.append((before, block))
        before = behind
    return layers, [*before, decoder.conv_norm_out, decoder.conv_act, decoder.conv_out]


def _blocks(decoder: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Each block of the decoder, with the layers that follow it."""
    block, *others = decoder.mid_block.resnets
    for attention, following in zip(decoder.mid_block.attentions, others, strict=False):  # as diffusers does
        yield block, [attention]
        block = following
    yield block, []
    for up in decoder.up_blocks:
        *inner, last = up.resnets
        for block in inner:
            yield block, []
        yield last, list(up.upsamplers or [])


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Replace the forward of the VAE's decoder and of the layers whose weights a window needs, so that offloads, which
    are applied later, see each layer called and bring its weights. Raises ValueError for another kind of decoder."""
    decoder = pipe.vae.decoder
    for _, block in layers_of(decoder)[0]:
        temporal = block.temporal_res_block
        for norm in (temporal.norm1, temporal.norm2):
            norm.forward = functools.partial(affine, norm)
        for conv in (temporal.conv1, temporal.conv2):
            conv.forward = functools.partial(over_time, conv)
        block.time_mixer.forward = functools.partial(blended, block.time_mixer)
    pipe.streamed_decoder = StreamedDecoder(decoder, int(memory.decode_budget_gib * 2**30))
    decoder.forward = pipe.streamed_decoder.forward


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why the decoder still sees its frames together, else None."""
    streamed = getattr(pipe, "streamed_decoder", None)
    if streamed is None or getattr(pipe.vae.decoder.forward, "__self__", None) is not streamed:
        return "the decoder's forward is the plain one"
    convolutions = [block.temporal_res_block.conv1 for _, block in layers_of(pipe.vae.decoder)[0]]
    plain = [c for c in convolutions if "forward" not in vars(c)]
    return unless_all(convolutions, plain, "blocks convolve all frames at once")
