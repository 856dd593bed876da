"""decode=streamed gives the frames of a decode of all of them together, at the memory of one."""

import copy
import itertools
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder

from svdsweep.config import Memory
from svdsweep.memory.streamed_decode import Moments, apply, layers_of
from svdsweep.memory.streamed_frames import ALIGNED, LARGEST_SLAB, Arena, Frames, Shelf

CPU = torch.device("cpu")
GIB = 2**30
WITHIN = 1e-5
ALL_SPILLED, PART, NOTHING = 0.0, 1e-4, 8.0
LIKE_SVD = {"block_out_channels": (32, 64, 96, 96), "layers_per_block": 2}
OTHERS = (
    {"block_out_channels": (32,), "layers_per_block": 1},
    {"block_out_channels": (64, 32), "layers_per_block": 3},
)


def random_vae(dtype: torch.dtype = torch.float32, **shape: Any) -> Any:
    """With weights far from their beginning, where the temporal layers would do next to nothing."""
    torch.manual_seed(0)
    kinds = ("DownEncoderBlock2D",) * len(shape["block_out_channels"])
    vae = AutoencoderKLTemporalDecoder(down_block_types=kinds, **shape).eval().requires_grad_(False)
    for p in vae.parameters():
        p += 0.05 * torch.randn_like(p)
    return vae.to(dtype)


@pytest.fixture(scope="module")
def like_svd() -> Any:
    return random_vae(**LIKE_SVD)


@pytest.fixture(scope="module")
def tiny(plain: Any) -> Any:
    return plain.vae


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.no_grad():
        yield


def streamed(vae: Any, budget_gib: float = 0.0) -> Any:
    """A pipeline with a copy of `vae` that streams."""
    pipe = SimpleNamespace(vae=copy.deepcopy(vae))
    apply(pipe, Memory(decode="streamed", decode_budget_gib=budget_gib), CPU)
    return pipe


def latents(frames: int, height: int = 8, width: int = 8, seed: int = 0, channels: int = 4) -> torch.Tensor:
    return torch.randn(frames, channels, height, width, generator=torch.Generator().manual_seed(seed))


def differ(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize(
    ("frames", "height", "width", "budget_gib"),
    [
        (1, 8, 8, ALL_SPILLED),
        (2, 5, 7, ALL_SPILLED),
        (3, 4, 6, NOTHING),
        (3, 4, 6, PART),
        pytest.param(14, 3, 4, PART, marks=pytest.mark.slow),
    ],
)
def test_frames_are_those_of_a_decode_of_all_together(
    like_svd: Any, frames: int, height: int, width: int, budget_gib: float
) -> None:
    z = latents(frames, height, width)
    pipe = streamed(like_svd, budget_gib)
    whole = like_svd.decode(z, num_frames=frames).sample
    assert differ(pipe.vae.decode(z, num_frames=frames).sample, whole) <= WITHIN
    assert (pipe.streamed_decoder.host_bytes == 0) == (budget_gib == NOTHING)


def test_25_frames_of_the_embedded_model_too(tiny: Any) -> None:
    z = latents(25, 2, 3, channels=tiny.config.latent_channels)
    whole = tiny.decode(z, num_frames=25).sample
    assert differ(streamed(tiny).vae.decode(z, num_frames=25).sample, whole) <= WITHIN


def test_25_frames_keep_what_chunks_of_them_do_not(like_svd: Any) -> None:
    z = latents(25, 2, 3)
    whole = like_svd.decode(z, num_frames=25).sample
    parts = [like_svd.decode(c, num_frames=len(c)).sample for c in z.split(8)]
    assert differ(torch.cat(parts), whole) > 1000 * WITHIN
    assert differ(streamed(like_svd, PART).vae.decode(z, num_frames=25).sample, whole) <= WITHIN


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_other_decoders_of_the_class(shape: Any) -> None:
    vae = random_vae(**shape)
    z = latents(5)
    whole = vae.decode(z, num_frames=5).sample
    assert differ(streamed(vae).vae.decode(z, num_frames=5).sample, whole) <= WITHIN


@pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=pytest.mark.slow), torch.bfloat16])
def test_half_precision_is_as_near_to_the_truth_as_the_plain_decode(
    like_svd: Any, dtype: torch.dtype
) -> None:
    z = latents(3, 4, 4)
    true = like_svd.decode(z, num_frames=3).sample
    half = copy.deepcopy(like_svd).to(dtype)
    plain = differ(half.decode(z.to(dtype), num_frames=3).sample.float(), true)
    mine = differ(streamed(half).vae.decode(z.to(dtype), num_frames=3).sample.float(), true)
    assert mine <= 1.5 * plain
    assert plain > WITHIN


def test_channels_last_convolutions(like_svd: Any) -> None:
    z = latents(4)
    pipe = streamed(like_svd)
    for layer in pipe.vae.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.to(memory_format=torch.channels_last)
    whole = like_svd.decode(z, num_frames=4).sample
    assert differ(pipe.vae.decode(z, num_frames=4).sample, whole) <= WITHIN


def test_clips_of_a_batch_do_not_see_one_another(like_svd: Any) -> None:
    z = torch.cat([latents(3, seed=1), latents(3, seed=2)])
    vae = streamed(like_svd).vae
    both = vae.decode(z, num_frames=3).sample
    assert torch.equal(both[3:], vae.decode(z[3:], num_frames=3).sample)
    assert differ(both, like_svd.decode(z, num_frames=3).sample) <= WITHIN


def test_a_budget_changes_where_frames_wait_and_nothing_else(like_svd: Any) -> None:
    z = latents(5, 4, 4)
    decodes = [
        streamed(like_svd, budget).vae.decode(z, num_frames=5).sample
        for budget in (ALL_SPILLED, PART, NOTHING)
    ]
    assert torch.equal(decodes[0], decodes[1])
    assert torch.equal(decodes[0], decodes[2])


def test_the_host_memory_of_the_largest_decode_is_told_and_budgets_are_in_gib(like_svd: Any) -> None:
    pipe = streamed(like_svd, ALL_SPILLED)
    pipe.vae.decode(latents(2, 4, 4), num_frames=2)
    most = pipe.streamed_decoder.host_bytes
    pipe.streamed_decoder.budget = 2**30
    pipe.vae.decode(latents(2, 4, 4), num_frames=2)
    assert pipe.streamed_decoder.host_bytes == most > 0
    assert streamed(like_svd, 1.5).streamed_decoder.budget == 1.5 * 2**30


def test_no_layer_sees_more_than_one_frame_or_window(like_svd: Any) -> None:
    pipe = streamed(like_svd)
    seen: set[int] = set()
    for name, layer in pipe.vae.decoder.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d | torch.nn.Linear) and name != "time_conv_out":
            layer.register_forward_hook(lambda m, args, out: seen.add(len(args[0])))
    pipe.vae.decode(latents(7), num_frames=7)
    assert seen == {1, 3}


@pytest.mark.parametrize("offload", ["none", "model", "group_leaf", "group_block"])
def test_offloads_bring_the_weights_of_every_layer(tiny: Any, prepared: Any, offload: str) -> None:
    z = latents(3, 4, 4, channels=tiny.config.latent_channels)
    pipe = prepared(decode="streamed", offload=offload, decode_budget_gib=0.0)
    assert differ(pipe.vae.decode(z, num_frames=3).sample, tiny.decode(z, num_frames=3).sample) <= WITHIN


def test_another_decoder_is_refused(like_svd: Any) -> None:
    vae = copy.deepcopy(like_svd)
    vae.decoder.up_blocks[0].resnets[0].time_mixer.merge_strategy = "learned_with_images"
    with pytest.raises(ValueError, match="AutoencoderKLTemporalDecoder"):
        streamed(vae)


def test_every_layer_of_the_decoder_is_run(like_svd: Any) -> None:
    layers, tail = layers_of(like_svd.decoder)
    run = {id(m) for before, block in layers for part in (*before, block) for m in part.modules()}
    run |= {id(m) for part in tail for m in part.modules()} | {id(like_svd.decoder.time_conv_out)}
    weighty = [n for n, m in like_svd.decoder.named_modules() if m._parameters and id(m) not in run]
    assert weighty == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("mean", [0.0, 20.0])
def test_moments_are_those_of_all_frames_at_once(dtype: torch.dtype, mean: float) -> None:
    frames = [(latents(1, 9, 9, seed) + mean).to(dtype) for seed in range(5)]
    moments = Moments(2)
    for frame in frames:
        moments.add(frame)
    groups = torch.stack([f[0].double().reshape(2, -1) for f in frames], 1).flatten(1)
    got_mean, got_variance = moments.merged()
    assert torch.allclose(got_mean.double(), groups.mean(1), rtol=1e-6, atol=1e-6)
    assert torch.allclose(got_variance.double(), groups.var(1, correction=0), rtol=1e-3 if mean else 1e-5)


def test_pieces_of_host_memory_never_overlap_and_are_given_again() -> None:
    arena, draw = Arena(pinned=False), random.Random(0)
    taken: list[Any] = []
    most = 0
    for _ in range(2000):
        if taken and (draw.random() < 0.45 or sum(p.end - p.start for p in taken) > 2**29):
            arena.give(taken.pop(draw.randrange(len(taken))))
        else:
            taken.append(arena.take(draw.choice((1, 5000, 2**20, 3 * 2**20, 70 * 2**20))))
        most = max(most, sum(p.end - p.start for p in taken))
    taken.sort(key=lambda p: (p.slab, p.start))
    assert all(a.slab < b.slab or a.end <= b.start for a, b in itertools.pairwise(taken))
    assert all(p.start % ALIGNED == 0 for p in taken)
    assert arena.nbytes <= 3 * most
    for piece in taken:
        arena.give(piece)
    assert sorted(g.end - g.start for g in arena.gaps) == sorted(map(len, arena.slabs))


def test_a_frame_larger_than_a_slab_gets_one_of_its_own() -> None:
    arena = Arena(pinned=False)
    piece = arena.take(LARGEST_SLAB + 1)  # never touched: no memory is really taken
    assert piece.end - piece.start >= LARGEST_SLAB + 1


def test_frames_come_back_as_they_were_put_and_make_room() -> None:
    shelf = Shelf(CPU, budget=3 * 16 * 4)
    frames = Frames(shelf, 6)
    given = [torch.full((1, 4, 2, 2), float(t)) for t in range(6)]
    for t, x in enumerate(given):
        frames.put(t, x)
    assert [kept.piece is None for kept in frames.kept.values()] == [True] * 3 + [False] * 3
    for last in (False, True):
        for t, x in enumerate(given):
            assert torch.equal(frames.get(t, last), x)
    assert shelf.left == 3 * 16 * 4
    assert not frames.kept
    assert sum(g.end - g.start for g in shelf.arena.gaps) == shelf.arena.nbytes
